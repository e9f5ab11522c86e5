"""URL checks against real answers: expected, wrong, slow, redirected, silent, gone."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from fleet.model import UrlCheck
from fleet.urls import UrlResult, check_all, check_url
from tests.certificates import Authority
from tests.integration.mail.web import Asked, Say, serving


def ask(
    answer: Callable[[Asked], Say], *, path: str = "/", expect: int = 200, timeout: float = 5.0
) -> UrlResult:
    with serving(answer) as web:
        return check_url(
            UrlCheck(name="shop", url=web.url + path, timeout_seconds=timeout, expect_status=expect)
        )


def redirecting(asked: Asked) -> Say:
    step = int(asked.path.strip("/") or 0)
    return Say(status=302, headers={"Location": f"/{step - 1}"}) if step else Say()


def test_a_url_is_up_when_it_answers_as_expected() -> None:
    result = ask(lambda _: Say(status=204), expect=204)
    assert (result.ok, result.status, result.detail) == (True, 204, "answered 204")
    assert 0 < result.seconds < 5


def test_a_url_is_down_when_it_answers_something_else() -> None:
    result = ask(lambda _: Say(status=500))
    assert (result.ok, result.status, result.detail) == (False, 500, "answered 500 instead of 200")


def test_redirects_are_followed_to_the_expected_answer() -> None:
    assert ask(redirecting, path="/3").ok


def test_a_redirect_that_is_expected_itself_is_not_followed() -> None:
    result = ask(redirecting, path="/3", expect=302)
    assert (result.ok, result.status) == (True, 302)


def test_a_url_that_redirects_for_ever_is_down() -> None:
    result = ask(lambda _: Say(status=302, headers={"Location": "/again"}))
    assert (result.ok, result.detail) == (False, "more than 5 redirects")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://example.org/", "javascript:alert(1)"])
def test_a_redirect_to_another_scheme_is_not_followed(target: str) -> None:
    result = ask(lambda _: Say(status=302, headers={"Location": target}))
    assert not result.ok
    assert result.detail.startswith("redirects from http to ")


def test_a_redirect_from_https_to_http_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority.create(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.cert))
    with serving(lambda _: Say()) as plain:
        away = Say(status=302, headers={"Location": plain.url})
        tls = authority.issue("127.0.0.1").server_context()
        with serving(lambda asked: Say() if asked.path == "/here" else away, tls=tls) as web:
            there = check_url(UrlCheck(name="there", url=web.url))
            here = check_url(UrlCheck(name="here", url=f"{web.url}/here"))
    assert (there.ok, there.detail) == (False, "redirects from https to http")
    assert here.ok
    assert plain.asked == []


def test_a_url_with_a_certificate_that_is_not_valid_is_down(tmp_path: Path) -> None:
    tls = Authority.create(tmp_path).issue("127.0.0.1").server_context()
    with serving(lambda _: Say(), tls=tls) as web:
        result = check_url(UrlCheck(name="shop", url=web.url))
    assert (result.ok, result.detail) == (False, "no valid certificate")
    assert web.asked == []


def test_a_silent_url_is_down_after_its_timeout() -> None:
    result = ask(lambda _: Say(silent=True), timeout=0.3)
    assert (result.ok, result.detail) == (False, "no answer in time")
    assert 0.3 <= result.seconds < 3


def test_a_url_that_nobody_serves_is_down() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = check_url(UrlCheck(name="gone", url=f"http://127.0.0.1:{port}/?token=s3cret"))
    assert (result.ok, result.detail) == (False, "no connection")


@contextmanager
def dripping() -> Iterator[str]:
    """Serve an answer that never ends: one byte of a header every 50 ms."""
    ended = threading.Event()

    def drip() -> None:
        with listener.accept()[0] as connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not ended.wait(0.05):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            ended.set()
            thread.join(timeout=10)


def test_a_url_whose_answer_never_ends_is_down_and_delays_the_others_only_up_to_its_limit() -> None:
    with serving(lambda _: Say()) as web, dripping() as slow:
        checks = [
            UrlCheck(name="slow", url=slow, timeout_seconds=0.3),
            *(UrlCheck(name=f"fast{n}", url=web.url, timeout_seconds=0.3) for n in range(3)),
        ]
        results = check_all(checks)
    assert [result.name for result in results] == [check.name for check in checks]
    assert [result.ok for result in results] == [False, True, True, True]
    assert results[0].detail == "no whole answer within 0.3 s"


def test_more_urls_than_threads_are_all_asked() -> None:
    with serving(lambda _: Say()) as web:
        checks = [UrlCheck(name=f"u{number}", url=web.url) for number in range(20)]
        assert all(result.ok for result in check_all(checks))


def test_nothing_to_check_is_no_error() -> None:
    assert check_all([]) == ()
