"""What stands between us and the management API: dead nodes, proxies, certificates, answers that are none."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fleet.daemons.process import free_ports
from fleet.daemons.rabbitmq import RabbitNode
from fleet.doctor.management import ManagementView
from fleet.doctor.unseen import Unseen
from provisioning import errors
from provisioning.apply import apply, plan_against
from provisioning.broker.ctl import Rabbitmqctl
from provisioning.broker.http_api import ClientCertificate
from provisioning.broker.management import ManagementDoor
from provisioning.broker.objects import Queue, Vhost
from provisioning.broker.rabbitmqctl import RabbitmqctlDoor
from provisioning.plan import Contents
from tests.broker_model import state
from tests.certificates import Authority, Issued
from tests.servers import skipped_without_packages

JSON = "application/json"
OVERVIEW = (200, JSON, b'{"rabbitmq_version": "3.10.8"}')
HTML = b"<html><body><h1>Sign in</h1></body></html>"
#: an answer that ends before it should
CUT = b"cut"


class Service(ThreadingHTTPServer):
    """Answers with what it was told, the last answer for ever, and notes what was asked."""

    daemon_threads = True

    def __init__(self, *answers: tuple[int, str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = list(answers)
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        answers = self.server.answers
        status, kind, body = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Location", "https://login.example.org/")
        self.send_header("Content-Length", str(len(body) + (100 if body.startswith(CUT) else 0)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body.removeprefix(CUT))

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serving(*answers: tuple[int, str, bytes]) -> Iterator[Service]:
    with Service(*answers) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield made
        finally:
            made.shutdown()
            thread.join(timeout=10)


def door(*urls: str, node: RabbitNode | None = None, timeout_seconds: float = 20) -> ManagementDoor:
    user, password = (node.admin_user, node.admin_password.reveal()) if node else ("u", "p")
    return ManagementDoor(urls, user=user, password=password, timeout_seconds=timeout_seconds)


ANSWERS = pytest.mark.parametrize(
    ("answers", "error", "message"),
    [
        pytest.param(
            [(200, "text/html", HTML)], errors.ChangeRefused, "does not answer in JSON", id="a proxy's page"
        ),
        pytest.param(
            [(302, "text/html", HTML)],
            errors.ChangeRefused,
            "sends us on to https://login",
            id="a login page",
        ),
        pytest.param(
            [(502, "text/html", HTML)], errors.Unreachable, "failed .*502", id="a proxy without a broker"
        ),
        pytest.param([(503, "text/html", HTML)], errors.Unreachable, "failed .*503", id="a node that starts"),
        pytest.param([(500, JSON, b'{"reason": "boom"}')], errors.Unreachable, "boom", id="a broken node"),
        pytest.param(
            [(401, JSON, b'{"reason": "Login failed"}')],
            errors.AccessRefused,
            "Login failed",
            id="a wrong password",
        ),
        pytest.param([(403, "text/html", HTML)], errors.AccessRefused, "403", id="a forbidding proxy"),
        pytest.param(
            [OVERVIEW, (401, JSON, b'{"reason": "Not administrator user"}')],
            errors.AccessRefused,
            "Not administrator",
            id="no administrator",
        ),
        pytest.param(
            [(404, "text/html", HTML)], errors.ChangeRefused, "not as RabbitMQ", id="another service"
        ),
        pytest.param(
            [OVERVIEW, (200, JSON, b'{"users": [')], errors.ChangeRefused, "JSON", id="truncated JSON"
        ),
        pytest.param(
            [OVERVIEW, (200, JSON, CUT + b'{"users": [')],
            errors.Unreachable,
            "no management API answers",
            id="an answer cut off",
        ),
        pytest.param(
            [OVERVIEW, (200, JSON, b"[]")], errors.ChangeRefused, "not as RabbitMQ", id="another JSON"
        ),
        pytest.param(
            [OVERVIEW, (200, JSON, b'{"users": [{"name": 5}]}')],
            errors.ChangeRefused,
            "`name`",
            id="other users",
        ),
        pytest.param(
            [OVERVIEW, (200, JSON, b"")], errors.ChangeRefused, "not as RabbitMQ", id="nothing at all"
        ),
    ],
)


@ANSWERS
def test_an_answer_that_is_none_is_one_clear_error_with_a_hint(
    answers: list[tuple[int, str, bytes]], error: type[errors.ProvisioningError], message: str
) -> None:
    with serving(*answers) as service, pytest.raises(error, match=message) as caught:
        door(service.url).observe()
    assert caught.value.hint
    assert "\n" not in caught.value.message


@ANSWERS
def test_a_view_of_the_doctor_says_of_the_same_answers_that_it_could_not_see(
    answers: list[tuple[int, str, bytes]], error: type[errors.ProvisioningError], message: str
) -> None:
    del error, message
    looks: tuple[Callable[[ManagementView], object], ...] = (
        lambda view: view.nodes(),
        lambda view: view.queues("v"),
        lambda view: view.global_prefetch_channels("v"),
    )
    for look in looks:
        # An empty list says that there is none.
        bad = [answer for answer in answers if answer[2] != b"[]"][-1:]
        with serving(*bad) as service, pytest.raises(Unseen) as caught:
            look(ManagementView((service.url,), user="u", password="p"))
        assert str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("answer", [(200, JSON, b'[{"name"'), (200, JSON, b'[["name"]]'), (500, JSON, b"")])
def test_a_view_says_of_a_strange_list_of_deprecated_features_that_it_could_not_see(
    answer: tuple[int, str, bytes],
) -> None:
    with serving(answer) as service, pytest.raises(Unseen):
        ManagementView((service.url,), user="u", password="p").deprecated_in_use()


def test_a_view_of_the_doctor_goes_on_at_the_next_node(rabbit: RabbitNode) -> None:
    with serving((503, "text/html", HTML)) as gone:
        view = ManagementView(
            (gone.url, rabbit.management_url),
            user=rabbit.admin_user,
            password=rabbit.admin_password.reveal(),
        )
        assert [node.is_running for node in view.nodes()] == [True]
        assert abs(view.clock_offset_seconds()) < 5
    assert len(gone.asked) == 1


@pytest.mark.parametrize("url", ["mq1:15672", "http://", "ftp://mq1", "http://[::1"])
def test_what_is_no_url_is_named(url: str) -> None:
    with pytest.raises(errors.Unreachable, match="is no URL of a management API") as caught:
        door(url).observe()
    assert "http://" in str(caught.value.hint)


def test_the_next_node_is_asked_when_one_is_away_and_stays_the_first(rabbit: RabbitNode) -> None:
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    with serving((503, "text/plain", b"starting")) as starting:
        opened = door(nobody, starting.url, rabbit.management_url, node=rabbit)
        assert opened.observe().version
        assert len(starting.asked) == 1
        assert opened.observe().version
        assert len(starting.asked) == 1


def test_a_node_that_dies_between_two_requests_is_left_for_the_next(rabbit: RabbitNode) -> None:
    with serving(OVERVIEW, (200, JSON, CUT + b'{"users": [')) as dying:
        opened = door(dying.url, rabbit.management_url, node=rabbit)
        seen = opened.observe()
    assert any(resource.identity == ("user", rabbit.admin_user) for resource in seen.resources)
    assert len(dying.asked) == 2


def test_a_change_goes_on_at_the_next_node(rabbit: RabbitNode) -> None:
    name = "failover-of-a-change"
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    opened = door(nobody, rabbit.management_url, node=rabbit)
    wanted = state([Vhost(name=name, description="made")])
    try:
        assert apply(plan_against(wanted, opened.observe(), opened), opened).converged
    finally:
        rabbit.ctl("delete_vhost", name)


def test_when_no_node_answers_each_is_named_with_its_reason() -> None:
    first, second = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    with pytest.raises(errors.Unreachable, match=f"{first}: .*refused; .*{second}: .*refused"):
        door(first, second).observe()


def test_a_node_that_never_answers_is_given_up_in_time() -> None:
    asked = threading.Event()

    class Silent(Handler):
        def do_GET(self) -> None:
            asked.wait(timeout=20)

    with serving(OVERVIEW) as silent:
        silent.RequestHandlerClass = Silent
        with pytest.raises(errors.Unreachable, match="no management API answers"):
            door(silent.url, timeout_seconds=0.3).observe()
        asked.set()


def test_a_refused_login_is_not_tried_at_the_next_node(rabbit: RabbitNode) -> None:
    with serving(OVERVIEW) as other, pytest.raises(errors.AccessRefused):
        door(rabbit.management_url, other.url).observe()
    assert other.asked == []


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_never_sees_a_request(
    rabbit: RabbitNode, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with serving((200, "text/html", HTML)) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert door(rabbit.management_url, node=rabbit).observe().version
        assert proxy.asked == []


def test_a_netrc_file_never_replaces_the_login(
    rabbit: RabbitNode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert door(rabbit.management_url, node=rabbit).observe().version


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[tuple[RabbitNode, str]]:
    """A real broker whose API speaks TLS only with who shows a certificate, and its URL.

    It keeps no statistics, either.
    """
    (port,) = free_ports(1)
    issued = authority.issue("127.0.0.1")
    settings = {
        "management.ssl.port": str(port),
        "management.ssl.ip": "127.0.0.1",
        "management.ssl.cacertfile": str(authority.cert),
        "management.ssl.certfile": str(issued.cert),
        "management.ssl.keyfile": str(issued.key),
        "management.ssl.verify": "verify_peer",
        "management.ssl.fail_if_no_peer_cert": "true",
        "management_agent.disable_metrics_collector": "true",
    }
    with skipped_without_packages():
        node = RabbitNode.start(tmp_path_factory.mktemp("guarded") / "node", settings=settings)
    try:
        yield node, f"https://127.0.0.1:{port}"
    finally:
        node.kill()
        node.stop()


def guarded_door(
    guarded: tuple[RabbitNode, str], authority: Authority, shown: Issued | None, *, key: str | None = None
) -> ManagementDoor:
    node, url = guarded
    certificate = ClientCertificate(certificate=str(shown.cert), key=key or str(shown.key)) if shown else None
    return ManagementDoor(
        url,
        user=node.admin_user,
        password=node.admin_password.reveal(),
        ca=str(authority.cert),
        certificate=certificate,
    )


def test_a_broker_that_asks_for_a_certificate_gets_it(
    guarded: tuple[RabbitNode, str], authority: Authority
) -> None:
    shown = authority.issue("provisioner", client=True)
    assert guarded_door(guarded, authority, shown).observe().version


def test_a_queue_of_a_broker_without_statistics_is_not_taken_for_an_empty_one(
    guarded: tuple[RabbitNode, str], authority: Authority
) -> None:
    over_http = guarded_door(guarded, authority, authority.issue("provisioner", client=True))
    queue = Queue(vhost="counted", name="q", type="classic")
    made = plan_against(state([Vhost(name="counted"), queue]), over_http.observe(), over_http)
    assert apply(made, over_http).converged
    pruned = plan_against(state([Vhost(name="counted")]), over_http.observe(), over_http, prune=True)
    assert not pruned.contents[queue.identity].known
    over_http.staleness_seconds = 0.0
    with pytest.raises(errors.QueueInUse, match="how much it holds is not known"):
        apply(pruned, over_http, allow_destructive=True)
    # The broker itself knows.
    ctl = RabbitmqctlDoor(Rabbitmqctl(guarded[0].rabbitmqctl))
    assert ctl.contents([queue]) == {queue.identity: Contents(messages=0, consumers=0)}
    assert apply(pruned, ctl, allow_destructive=True, pause=lambda _: None).converged


def test_without_a_certificate_that_the_broker_trusts_the_hint_says_so(
    guarded: tuple[RabbitNode, str], authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority.create(tmp_path, "stranger").issue("provisioner", client=True)
    for shown in (None, stranger):
        with pytest.raises(errors.Unreachable, match="no management API answers") as caught:
            guarded_door(guarded, authority, shown).observe()
        assert "`cert`" in str(caught.value.hint)


def test_a_key_that_is_missing_is_named(guarded: tuple[RabbitNode, str], authority: Authority) -> None:
    shown = authority.issue("provisioner", client=True)
    with pytest.raises(errors.Unreachable, match=r"/nonexistent/key\.pem"):
        guarded_door(guarded, authority, shown, key="/nonexistent/key.pem").observe()


def test_an_unknown_authority_and_an_expired_certificate_end_the_run_whatever_other_nodes_would_say(
    rabbit: RabbitNode, authority: Authority, tmp_path: Path
) -> None:
    expired = authority.issue("127.0.0.1", days=-1)
    stranger = Authority.create(tmp_path, "stranger").issue("127.0.0.1")
    for issued, message, hint in ((expired, "expired", "renew it"), (stranger, "issuer", "`ca`")):
        with serving(OVERVIEW) as server:
            server.socket = issued.server_context().wrap_socket(server.socket, server_side=True)
            urls = (f"https://127.0.0.1:{server.server_port}", rabbit.management_url)
            opened = ManagementDoor(
                urls,
                user=rabbit.admin_user,
                password=rabbit.admin_password.reveal(),
                ca=str(authority.cert),
            )
            with pytest.raises(errors.Unreachable, match=f"not trusted: .*{message}") as caught:
                opened.observe()
            assert hint in str(caught.value.hint)
            assert server.asked == []
