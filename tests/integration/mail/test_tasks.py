"""Mail and URL checks as tasks: a real broker, a real worker, a real SMTP conversation."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from fleet.client import Client
from fleet.daemons.smtp import SmtpSink
from fleet.daemons.smtp_rules import Rule, Stage
from fleet.fleetfile import read
from fleet.ledger import Ledger
from tests.broker import BrokerVhost, hosts_and_workers
from tests.integration.mail.web import Say, serving
from tests.servers import Provisioned, StartWorker, ready_urls

DEAD_LETTERS = "fleet.email.dlq"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A provisioned fleet with a worker for mail, and where its mail goes."""

    path: Path
    vhost: BrokerVhost
    smtp: SmtpSink
    directory: Path

    def send(self, *recipients: str, key: str | None = None) -> list[str]:
        with Client(read(str(self.path)), {}) as client:
            return [
                client.mail(to, "welcome", {"name": "Zaphod"}, key=key and f"{key}/{to}").id
                for to in recipients
            ]

    def dead_letters(self) -> list[str]:
        """Return the ids of the tasks in the dead-letter queue."""
        body = {"count": 50, "ackmode": "ack_requeue_true", "encoding": "auto"}
        found = self.vhost.api("POST", f"queues/{self.vhost.name}/{DEAD_LETTERS}/get", body)
        return [message["properties"]["headers"]["id"] for message in found]

    def received(self, to: str) -> list[str]:
        """Return the Message-IDs of the mails that reached ``to``, in order."""
        return [str(one.message()["Message-ID"]) for one in self.smtp.messages() if to in one.recipients]

    def log(self) -> str:
        return "".join(path.read_text(encoding="utf-8") for path in self.directory.glob("worker-*.log"))


def wait_until(condition: Callable[[], object], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


@pytest.fixture
def make_site(
    provisioned: Provisioned, start_worker: StartWorker, smtp: SmtpSink, tmp_path: Path
) -> Callable[..., Site]:
    """Returns a running fleet; ``extra`` lines go into [mail]."""

    def make(*, extra: str = "", tables: str = "") -> Site:
        templates = tmp_path / "templates"
        templates.mkdir()
        (templates / "welcome.subject.txt").write_text("Welcome, {{ name }}\n")
        (templates / "welcome.txt").write_text("Hello {{ name }}\n")
        mail = f"""
[mail]
from = "Fleet <fleet@example.com>"
templates = "{templates}"
retry_base = 1
retry_max = 1
{extra}
[mail.smtp]
host = "127.0.0.1"
port = {smtp.port}
security = "none"
timeout = 10
{tables}"""
        path = provisioned(hosts_and_workers("alpha") + mail)
        start_worker(path, "shared")
        return Site(path=path, vhost=provisioned.vhost, smtp=smtp, directory=tmp_path)

    return make


def test_a_mail_that_is_refused_for_now_is_tried_again_and_arrives_once(
    make_site: Callable[..., Site],
) -> None:
    site = make_site()
    site.smtp.script(
        [Rule(recipient="zarniwoop@example.org", reply="451 4.7.1 zarniwoop is greylisted", times=2)]
    )
    site.send("zarniwoop@example.org", "bob@example.org")
    wait_until(lambda: site.received("zarniwoop@example.org"))
    assert len(site.received("zarniwoop@example.org")) == len(site.received("bob@example.org")) == 1
    assert site.dead_letters() == []
    message = site.smtp.messages()[-1].message()
    assert (message["To"], message["Subject"]) == ("zarniwoop@example.org", "Welcome, Zaphod")
    # The recipient, the context and what the server repeated of them stay out of the log.
    assert "451 4.7.1" in site.log()
    assert "Zaphod" not in site.log()
    assert "zarniwoop" not in site.log()


def test_a_mail_that_is_refused_for_good_or_whose_fate_is_unknown_is_not_sent_again(
    make_site: Callable[..., Site],
) -> None:
    site = make_site()
    lost = Rule(recipient="lost@example.org", stage=Stage.DATA, disconnect=True)
    site.smtp.script([Rule(recipient="bad@example.org", reply="550 5.1.1 unknown"), lost])
    ids = site.send("bad@example.org", "lost@example.org")
    wait_until(lambda: sorted(site.dead_letters()) == sorted(ids))
    site.send("ann@example.org")
    wait_until(lambda: site.received("ann@example.org"))
    (message_id,) = site.received("lost@example.org")
    # What an operator needs to settle it: the one Message-ID to look for.
    assert f"Message-ID {message_id}" in site.log()
    assert site.received("bad@example.org") == []


def test_with_on_unknown_retry_the_second_mail_has_the_message_id_of_the_first(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(extra='on_unknown = "retry"')
    site.smtp.script([Rule(recipient="*", stage=Stage.DATA, disconnect=True, times=1)])
    site.send("ann@example.org", key="welcome-42")
    wait_until(lambda: len(site.received("ann@example.org")) == 2)
    assert len(set(site.received("ann@example.org"))) == 1


def test_a_mail_that_never_succeeds_is_dead_lettered_after_its_attempts(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(extra="max_attempts = 2")
    site.smtp.script([Rule(recipient="*", reply="451 4.3.0 never")])
    ids = site.send("ann@example.org")
    wait_until(lambda: site.dead_letters() == ids)
    assert "gave up after 2 attempts" in site.log()


def test_a_url_check_is_in_the_ledger_and_in_the_worker_s_metrics(make_site: Callable[..., Site]) -> None:
    with serving(lambda asked: Say(status=200 if asked.path == "/up" else 500)) as web:
        site = make_site(tables=f'[urls.shop]\nurl = "{web.url}/up"\n[urls.wiki]\nurl = "{web.url}/down"\n')
        fleet = read(str(site.path))
        with Client(fleet, {}) as client:
            client.send("fleet.check_urls")
        ledger = Ledger.in_state_dir(fleet.state_dir)
        wait_until(lambda: len(ledger.latest()) == 2)
    assert [(job.name, job.ok) for job in ledger.latest()] == [("shop", True), ("wiki", False)]
    assert ledger.latest()[1].detail.startswith("answered 500 instead of 200 in 0.")
    (ready,) = ready_urls(site.path, host="alpha", worker="shared")
    metrics = requests.get(ready.replace("/readyz", "/metrics"), timeout=10).text
    assert 'fleet_url_up{host="alpha",job_name="shop"} 1.0' in metrics
    assert 'fleet_url_up{host="alpha",job_name="wiki"} 0.0' in metrics
    assert site.dead_letters() == []
