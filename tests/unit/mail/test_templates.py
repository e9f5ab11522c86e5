import pytest

from fleet.errors import UsageError
from fleet.mail.names import check_template_name
from fleet.mail.templates import BadTemplate, Templates, render, variables
from tests.unit.mail.mails import templates

FILES = {
    "welcome.subject.txt": "Welcome, {{ name }}\n",
    "welcome.txt": "Hello {{ name }}\n{% for item in items %}\n- {{ item }}\n{% endfor %}\n",
    "welcome.html": "<p>Hello {{ name }}</p>\n",
}
CONTEXT = {"name": "Ann & <Bob>", "items": ["a", "b"]}


def test_a_template_renders_into_subject_text_and_escaped_html() -> None:
    content = render(templates(FILES), "welcome", CONTEXT)
    assert content.subject == "Welcome, Ann & <Bob>"
    assert content.text == "Hello Ann & <Bob>\n- a\n- b\n"
    assert content.html == "<p>Hello Ann &amp; &lt;Bob&gt;</p>\n"
    assert content.unsubscribe is None


def test_a_template_without_html_makes_a_mail_of_text_only() -> None:
    content = render(templates({"a.subject.txt": "S", "a.txt": "T"}), "a", {})
    assert (content.subject, content.text, content.html) == ("S", "T", None)


def test_a_url_for_unsubscribing_comes_from_its_own_file() -> None:
    files = {"a.subject.txt": "S", "a.txt": "T", "a.unsubscribe.txt": "https://example.org/{{ id }}\n"}
    assert render(templates(files), "a", {"id": 7}).unsubscribe == "https://example.org/7"


@pytest.mark.parametrize("missing", ["welcome.subject.txt", "welcome.txt"])
def test_a_missing_file_is_named(missing: str) -> None:
    files = {name: text for name, text in FILES.items() if name != missing}
    with pytest.raises(BadTemplate) as caught:
        render(templates(files), "welcome", CONTEXT)
    assert caught.value.file == f"/mail/{missing}"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("one\n{{ nobody }}\n", 2, "'nobody' is undefined"),
        ("one\n\n{{ name.nothing }}\n", 3, "has no attribute 'nothing'"),
        ("{% if name %}\n", 1, "Unexpected end of template"),
        ("one\n{{ name + 1 }}\n", 2, "an expression failed with TypeError"),
        ("{{ name.__class__.__mro__ }}\n", 1, "access to attribute '__class__'"),
        ("one\n{% include 'no.txt' %}\n", 2, "there is no file `no.txt` to include"),
        ("one\n{% include '../secret' %}\n", 2, "there is no file `../secret` to include"),
        ("one\n{{ name|nofilter }}\n", 2, "No filter named 'nofilter'"),
        ("one\n{{ 1 / 0 }}\n", 2, "an expression failed with ZeroDivisionError"),
    ],
)
def test_a_template_that_fails_says_in_which_file_and_line(text: str, line: int, message: str) -> None:
    with pytest.raises(BadTemplate) as caught:
        render(templates(FILES | {"welcome.txt": text}), "welcome", CONTEXT)
    assert (caught.value.file, caught.value.line) == ("/mail/welcome.txt", line)
    assert message in str(caught.value)


def test_a_fault_in_an_included_file_is_located_there() -> None:
    files = FILES | {"welcome.txt": "{% include '_footer.txt' %}", "_footer.txt": "a\nb {{ nobody }}\n"}
    with pytest.raises(BadTemplate) as caught:
        render(templates(files), "welcome", CONTEXT)
    assert (caught.value.file, caught.value.line) == ("/mail/_footer.txt", 2)


def test_an_error_never_shows_a_value_of_the_context() -> None:
    with pytest.raises(BadTemplate) as caught:
        render(templates(FILES | {"welcome.txt": "{{ name|round }}"}), "welcome", {"name": "s3cret"})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["", "../etc/passwd", "a/b", ".hidden", "a.b", "a\n", "/etc/passwd", None, 3]
)
def test_a_name_that_could_lead_out_of_the_directory_is_refused(name: object) -> None:
    with pytest.raises(UsageError, match="is not the name of a mail template"):
        check_template_name(name)


def test_a_template_cannot_include_a_file_outside_its_directory() -> None:
    asked: list[str] = []
    files = {"a.subject.txt": "S", "a.txt": "{% include '/etc/passwd' %}"}

    def read(name: str) -> str | None:
        asked.append(name)
        return files.get(name)

    with pytest.raises(BadTemplate):
        render(Templates(directory="/mail", read=read), "a", {})
    assert asked
    assert not [name for name in asked if "/" in name]


def test_the_variables_of_a_template_are_those_of_all_its_parts() -> None:
    assert variables(templates(FILES), "welcome") == ("items", "name")
