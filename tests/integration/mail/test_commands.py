"""``fleet mail preview`` and ``fleet mail check`` as an operator runs them."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.cli.main import main
from tests.integration.mail.talk import talking

CASES = Path(__file__).parents[2] / "cases" / "mail"
FLEET = """
[fleet]
name = "test"
[broker]
url = "amqp://127.0.0.1"
password = "env:P"
[hosts.alpha]
"""
MAIL = """
[mail]
from = "Fleet <fleet@example.com>"
templates = "mail"
[mail.smtp]
host = "127.0.0.1"
port = {port}
security = "none"
timeout = 5
"""
TEMPLATES = {
    "welcome.subject.txt": "Welcome, {{ name }}\n",
    "welcome.txt": "Hello {{ name }}\n{{ items | length }} items\n",
    "welcome.html": "<p>Hello {{ name }}</p>\n",
    "welcome.example.json": '{"name": "Ann", "items": [1, 2]}\n',
    "plain.subject.txt": "Plain\n",
    "plain.txt": "Hello {{ name }}\n",
}


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    """A directory of good templates, beside a fleet file that names it."""
    directory = tmp_path / "mail"
    directory.mkdir()
    for name, text in TEMPLATES.items():
        (directory / name).write_text(text, encoding="utf-8")
    (tmp_path / "fleet.toml").write_text(FLEET + MAIL.format(port=9), encoding="utf-8")
    return directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended."""

    code: object
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(templates: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``fleet mail …`` in this process, beside the fleet file."""
    monkeypatch.chdir(templates.parent)
    for name in os.environ:
        if name.startswith("FLEET_"):
            monkeypatch.delenv(name)

    def call(*arguments: str) -> Done:
        monkeypatch.setattr("sys.argv", ["fleet", "mail", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Done(code=ended.value.code, stdout=printed.out, stderr=printed.err)

    return call


def test_a_preview_shows_headers_and_text_of_the_mail(templates: Path, run: Run) -> None:
    done = run("preview", "--template", "welcome", "--to", "Bob <bob@example.org>")
    head, _, text = done.stdout.partition("\n\n")
    assert done.code == 0, done.stderr
    assert head.splitlines()[:3] == [
        "From: Fleet <fleet@example.com>",
        "To: Bob <bob@example.org>",
        "Subject: Welcome, Ann",
    ]
    assert text == "Hello Ann\n2 items\n\n"
    assert "add `--html` to see it" in done.stderr


def test_a_preview_takes_a_context_of_its_own_and_escapes_it_in_html(templates: Path, run: Run) -> None:
    context = '{"name": "<Bob>", "items": []}'
    done = run("preview", "--template", "welcome", "--context", context, "--html")
    assert (done.code, done.stdout) == (0, "<p>Hello &lt;Bob&gt;</p>\n\n")
    record = json.loads(run("preview", "--template", "welcome", "--context", context, "--json").stdout)
    assert record["headers"]["Subject"] == "Welcome, <Bob>"
    assert (record["text"], record["html"]) == ("Hello <Bob>\n0 items\n", "<p>Hello &lt;Bob&gt;</p>\n")


def test_a_check_tells_what_each_template_expects(templates: Path, run: Run) -> None:
    done = run("check", "--json")
    assert done.code == 0, done.stderr
    found = {template["name"]: template for template in json.loads(done.stdout)["templates"]}
    assert found["welcome"]["rendered"]
    assert found["welcome"]["variables"] == ["items", "name"]
    assert (found["plain"]["rendered"], found["plain"]["problem"]) == (False, None)


def test_a_check_finds_every_problem_and_exits_with_4(templates: Path, run: Run) -> None:
    (templates / "plain.txt").write_text("{% if %}\n")
    (templates / "welcome.example.json").write_text("{}")
    (templates / "half.txt").write_text("no subject\n")
    (templates / "leave.subject.txt").write_text("Bye\n")
    (templates / "leave.txt").write_text("Bye\n")
    (templates / "leave.unsubscribe.txt").write_text("http://example.org/\n")
    (templates / "leave.example.json").write_text("{}")
    done = run("check")
    assert done.code == 4
    assert "4 found:" in done.stderr
    assert "leave: the URL for unsubscribing is not" in done.stderr
    assert "mail/half.subject.txt: there is no such file" in done.stderr
    assert "mail/plain.txt:1: " in done.stderr
    assert "mail/welcome.subject.txt:1: 'name' is undefined" in done.stderr


def test_a_check_of_the_connection_logs_in_and_sends_nothing(
    templates: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", "s3cret")
    login = 'user = "fleet"\npassword = "env:MAIL_PASSWORD"\n'
    file = templates.parent / "fleet.toml"
    for reply, code in (("235 2.7.0 welcome", 0), ("535 5.7.8 bad credentials", 4)):
        with talking({"AUTH": reply}) as server:
            file.write_text(FLEET + MAIL.format(port=server.port) + login, encoding="utf-8")
            done = run("check", "--connect")
        assert done.code == code, done.stderr
        assert server.heard.verbs() == ["EHLO", "AUTH", "QUIT"]
        assert "s3cret" not in done.stdout + done.stderr
    assert "535 5.7.8 bad credentials" in done.stderr


BAD_INPUT = {
    "template-that-is-not-there": ("preview", "--template", "nothing"),
    "template-that-does-not-parse": ("preview", "--template", "broken"),
    "variable-that-is-not-given": ("preview", "--template", "plain", "--context", "{}"),
    "template-outside-the-directory": ("preview", "--template", "../../etc/passwd"),
    "subject-of-two-lines": ("preview", "--template", "plain", "--context", '{"name": "x"}'),
    "invalid-address": ("preview", "--template", "welcome", "--to", "ann at example.org"),
    "two-addresses": ("preview", "--template", "welcome", "--to", "a@example.org, b@example.org"),
    "context-that-is-no-json": ("preview", "--template", "welcome", "--context", "{name: Ann}"),
    "context-that-is-no-object": ("preview", "--template", "welcome", "--context", "[1]"),
    "html-that-is-not-there": ("preview", "--template", "plain", "--context", '{"name": "x"}', "--html"),
    "example-that-is-no-json": ("preview", "--template", "welcome"),
    "directory-that-is-not-there": ("preview", "--template", "welcome"),
    "no-mail": ("check",),
}


def _spoil(name: str, templates: Path) -> None:
    if name == "template-that-does-not-parse":
        (templates / "broken.subject.txt").write_text("Hi\n")
        (templates / "broken.txt").write_text("Hi\n\n{% for x in %}\n")
    if name == "subject-of-two-lines":
        (templates / "plain.subject.txt").write_text("one\ntwo {{ name }}\n")
    if name == "example-that-is-no-json":
        (templates / "welcome.example.json").write_text("{'name': 'Ann'}")
    if name == "directory-that-is-not-there":
        templates.rename(templates.with_name("elsewhere"))
    if name == "no-mail":
        (templates.parent / "fleet.toml").write_text(FLEET)


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_one_clear_error(name: str, templates: Path, run: Run) -> None:
    _spoil(name, templates)
    done = run(*BAD_INPUT[name])
    expected = (CASES / f"{name}.expected").read_text(encoding="utf-8")
    assert f"exit {done.code}\n{done.stderr}" == expected
    assert done.stdout == ""


def test_every_case_is_run() -> None:
    assert sorted(path.stem for path in CASES.iterdir()) == sorted(BAD_INPUT)
