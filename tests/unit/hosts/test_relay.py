"""A runner whose commands another program runs: here one that answers as Ansible's side does."""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import IO

import pytest

from provisioning.errors import HostAccessRefused, HostTimeout, HostUnreachable, HostUnusable
from provisioning.hosts.relay import RelayRunner

#: takes a command line and its input, and says how that ended, or None where the other side has gone
Carry = Callable[[str, bytes], tuple[dict[str, object], bytes] | None]
#: gives a runner whose commands are carried so
MakeRunner = Callable[[Carry], RelayRunner]


def by_shell(line: str, given: bytes) -> tuple[dict[str, object], bytes]:
    done = subprocess.run(("sh", "-c", line), input=given, capture_output=True, check=False, timeout=10)
    sizes = {"stdout": len(done.stdout), "stderr": len(done.stderr)}
    return {"exit_code": done.returncode, **sizes}, done.stdout + done.stderr


def serve(carry: Carry, requests: IO[bytes], answers: IO[bytes]) -> None:
    with answers:
        for line in requests:
            request = json.loads(line)
            answer = carry(request["run"], requests.read(request["stdin"]))
            if answer is None:
                return
            answers.write(json.dumps(answer[0]).encode() + b"\n" + answer[1])
            answers.flush()
            if "ends" in answer[0]:
                return


@pytest.fixture
def make_runner() -> Iterator[MakeRunner]:
    threads: list[threading.Thread] = []
    streams: list[IO[bytes]] = []

    def make(carry: Carry) -> RelayRunner:
        (read_requests, requests), (read_answers, answers) = os.pipe(), os.pipe()
        theirs = (os.fdopen(read_requests, "rb"), os.fdopen(answers, "wb"))
        thread = threading.Thread(target=serve, args=(carry, *theirs), daemon=True)
        thread.start()
        threads.append(thread)
        streams.extend((os.fdopen(requests, "wb"), os.fdopen(read_answers, "rb"), theirs[0]))
        return RelayRunner("alpha", requests=streams[-3], answers=streams[-2])

    yield make
    for stream in streams[::3]:
        stream.close()
    for thread in threads:
        thread.join(timeout=10)
        assert not thread.is_alive()
    for stream in streams:
        stream.close()


def test_bytes_go_and_come_as_they_are(make_runner: MakeRunner) -> None:
    runner = make_runner(by_shell)
    given = (bytes(range(256)), b"\n{}\n" * 50_000)
    assert runner.run(("cat",), stdin=given).stdout == b"".join(given)
    ran = runner.run(("sh", "-c", "printf out; printf err >&2; exit 3"))
    assert (ran.exit_code, ran.stdout, ran.stderr) == (3, b"out", b"err")


def test_what_a_login_shell_says_of_its_own_is_left_out(make_runner: MakeRunner) -> None:
    runner = make_runner(lambda line, given: by_shell(f"echo banner; echo lecture >&2; {line}", given))
    ran = runner.run(("echo", "it"))
    assert (ran.stdout, ran.stderr) == (b"it\n", b"")


def test_a_connection_that_is_not_roots_is_refused_before_anything_is_done(make_runner: MakeRunner) -> None:
    asked = []

    def carry(line: str, given: bytes) -> tuple[dict[str, object], bytes]:
        asked.append(line)
        return by_shell(line.replace("id -u", "echo 1000"), given)

    with pytest.raises(HostAccessRefused, match="only root may do that") as refused:
        make_runner(carry).run(("touch", "/root/here"), as_root=True)
    assert "become: true" in str(refused.value.hint)
    assert len(asked) == 1


def test_whether_it_is_root_is_asked_once(make_runner: MakeRunner) -> None:
    asked = []

    def carry(line: str, given: bytes) -> tuple[dict[str, object], bytes]:
        asked.append("id -u" in line)
        return by_shell(line.replace("id -u", "echo 0"), given)

    runner = make_runner(carry)
    assert [runner.run(("echo", "it"), as_root=True).stdout for _ in range(2)] == [b"it\n", b"it\n"]
    assert asked == [True, False, False]


def test_what_takes_too_long_is_ended_over_there(make_runner: MakeRunner) -> None:
    with pytest.raises(HostTimeout, match=r"did not end within 0\.1 s"):
        make_runner(by_shell).run(("sleep", "8"), timeout_seconds=0.1)


def test_a_command_that_was_never_begun_is_told_with_the_reason(make_runner: MakeRunner) -> None:
    refuses = by_shell("echo 'sorry, no shell for you' >&2; exit 1", b"")
    with pytest.raises(HostUnusable, match="`true` was not begun, exit code 1: sorry, no shell for you"):
        make_runner(lambda *_: refuses).run(("true",))


def test_a_host_that_the_other_side_cannot_reach_is_unreachable(make_runner: MakeRunner) -> None:
    answer: dict[str, object] = {"unreachable": "no route to host"}
    with pytest.raises(HostUnreachable, match=r"alpha.*no route to host"):
        make_runner(lambda *_: (answer, b"")).run(("true",))


@pytest.mark.parametrize("answer", [None, ({"exit_code": 0, "stdout": 9, "stderr": 0, "ends": True}, b"cut")])
def test_another_side_that_ends_is_told(
    make_runner: MakeRunner, answer: tuple[dict[str, object], bytes] | None
) -> None:
    with pytest.raises(HostUnreachable, match="the program that reaches it for us has ended"):
        make_runner(lambda *_: answer).run(("true",))
