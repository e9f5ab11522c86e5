"""The part of a fleet's topology that senders and the journal need, declared by the test itself."""

from dataclasses import dataclass

import amqp

from fleet.model import Backup, Broker, Fleet, Host, Mail, Node, Queue, SecretRef, Worker
from fleet.routes import (
    JOURNAL_EXCHANGE,
    JOURNAL_STREAM,
    TASK_EXCHANGE,
    BrokerQueue,
    broker_queue,
    broker_queues,
)
from fleet.secrets import Secret
from tests.broker import BrokerVhost

EMAIL = Queue(name="email", tasks=("fleet.send_mail", "shop.*"))
BACKUP = Queue(name="backup", tasks=("fleet.backup",), long=True, per_host=True)
EMAIL_QUEUE = broker_queue(EMAIL, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A fleet on a vhost of the test's own."""

    vhost: BrokerVhost
    fleet: Fleet

    @property
    def password(self) -> Secret:
        return Secret(self.vhost.password)

    def connection(self) -> amqp.Connection:
        """Return an open connection as the fleet's user."""
        made = amqp.Connection(
            host=self.vhost.address,
            userid=self.vhost.user,
            password=self.vhost.password,
            virtual_host=self.vhost.name,
        )
        made.connect()
        return made

    def declare(self, queue: BrokerQueue, **arguments: object) -> None:
        """Declare a quorum queue and bind it to the task exchange."""
        with self.connection() as connection:
            channel = connection.channel()
            channel.exchange_declare(TASK_EXCHANGE, "topic", durable=True, auto_delete=False)
            arguments = {"x-queue-type": "quorum"} | {
                name.replace("_", "-"): value for name, value in arguments.items()
            }
            channel.queue_declare(queue.name, durable=True, auto_delete=False, arguments=arguments)
            channel.queue_bind(queue.name, TASK_EXCHANGE, queue.name)

    def declare_journal(self) -> None:
        """Declare the journal's exchange and stream."""
        with self.connection() as connection:
            channel = connection.channel()
            channel.exchange_declare(JOURNAL_EXCHANGE, "topic", durable=True, auto_delete=False)
            channel.queue_declare(
                JOURNAL_STREAM, durable=True, auto_delete=False, arguments={"x-queue-type": "stream"}
            )
            channel.queue_bind(JOURNAL_STREAM, JOURNAL_EXCHANGE, "#")

    def declare_all(self) -> None:
        """Declare every queue of the fleet, and its journal."""
        for queue in broker_queues(self.fleet):
            self.declare(queue)
        self.declare_journal()

    def messages(self, queue: str) -> list[amqp.Message]:
        """Take every message out of ``queue``."""
        with self.connection() as connection:
            channel = connection.channel()
            taken = []
            while (message := channel.basic_get(queue, no_ack=True)) is not None:
                taken.append(message)
            return taken


def site_on(vhost: BrokerVhost) -> Site:
    """Return a fleet of two hosts on ``vhost``, with nothing declared yet."""
    broker = Broker(
        nodes=(Node(host=vhost.address.split(":")[0], port=vhost.node.port),),
        vhost=vhost.name,
        user=vhost.user,
        password=SecretRef(scheme="file", name=str(vhost.password_file)),
    )
    fleet = Fleet(
        name="test",
        timezone="UTC",
        state_dir=str(vhost.directory / "state"),
        broker=broker,
        hosts=(Host(name="alpha", address="127.0.0.1"), Host(name="beta", address="127.0.0.1")),
        queues=(EMAIL, BACKUP),
        workers=(
            Worker(name="shared", hosts=("*",), queues=("email",)),
            Worker(name="backup", hosts=("*",), queues=("backup",), concurrency=1),
        ),
        backups=(Backup(name="etc", hosts=("alpha",), sources=("/etc",), destination="/backups"),),
        mail=Mail(sender="fleet@example.org", templates=str(vhost.directory)),
    )
    return Site(vhost=vhost, fleet=fleet)
