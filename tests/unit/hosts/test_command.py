"""The line that a host's shell reads, and what is taken from what it says."""

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.hosts.command import AfterMark, Rights, command_line, words

ARGUMENTS = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=4)


def line(*argv: str, rights: Rights = Rights.OWN) -> str:
    return command_line(argv, mark="<m>", prompt="<p>", rights=rights, timeout_seconds=1.5)


def test_root_comes_from_sudo_and_the_bound_is_within() -> None:
    assert shlex.split(line("ls", "a b"))[:3] == ["timeout", "--kill-after=5", "1.500"]
    assert shlex.split(line("ls", rights=Rights.SUDO))[:4] == ["sudo", "-n", "--", "timeout"]
    assert shlex.split(line("ls", rights=Rights.SUDO_PASSWORD))[:6] == [
        *("sudo", "-S", "-p", "<p>", "--"),
        "timeout",
    ]


@given(ARGUMENTS)
def test_a_shell_hands_on_any_arguments_as_they_are(arguments: list[str]) -> None:
    assert shlex.split(line("printf", *arguments))[-1 - len(arguments) :] == ["printf", *arguments]


@pytest.mark.parametrize("arguments", [["$HOME", "`id`", "a'b", '"', "\\", "*", "", "\n", "-n", "ü"]])
def test_a_real_shell_prints_the_mark_on_both_streams_and_then_the_arguments(arguments: list[str]) -> None:
    ran = subprocess.run(
        ["sh", "-c", line("printf", "%s|", *arguments)], capture_output=True, check=True, timeout=10
    )
    assert ran.stdout.decode() == "<m>" + "".join(f"{each}|" for each in arguments)
    assert ran.stderr == b"<m>"


@given(st.binary(max_size=50), st.binary(max_size=50), st.integers(1, 7))
def test_what_stands_before_the_mark_is_told_apart_however_it_arrives(
    before: bytes, after: bytes, size: int
) -> None:
    mark = b"<0123456789abcdef>"
    said = before + mark + after
    stream = AfterMark(mark, most=1000)
    for at in range(0, len(said), size):
        stream.take(said[at : at + size])
    assert (stream.has_begun, stream.before, stream.after) == (True, before, after)


def test_a_stream_keeps_only_so_much_and_says_when_it_was_more() -> None:
    stream = AfterMark(b"<m>", most=10)
    stream.take(b"<m>" + bytes(10))
    assert not stream.is_too_long
    stream.take(b"x" * 1000)
    assert stream.is_too_long
    assert len(stream.after) <= 10


def test_what_a_host_says_cannot_steer_a_terminal() -> None:
    assert words(b"\x1b[31mred\x07\n\ttwo  lines \xff") == "?[31mred? two lines \ufffd"
    assert words(b"x" * 1000, most=10) == "…" + "x" * 10
