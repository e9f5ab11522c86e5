import io
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.cli.sending import parse_list, parse_object
from fleet.errors import UsageError


def test_json_can_stand_in_the_option_in_a_file_or_in_stdin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "context.json"
    path.write_text('{"name": "Zoë"}', encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO('{"name": "Zoë"}'))
    texts = ('{"name": "Zoë"}', f"@{path}", "@-")
    assert [parse_object(text, option="--context") for text in texts] == [{"name": "Zoë"}] * 3


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (parse_object, "{", "--x is no JSON"),
        (parse_object, "", "--x is no JSON"),
        (parse_object, "[]", "--x needs a JSON object, not a list"),
        (parse_object, "null", "--x needs a JSON object, not null"),
        (parse_list, "{}", "--x needs a JSON list, not an object"),
        (parse_list, "true", "--x needs a JSON list, not true or false"),
        (parse_list, "7", "--x needs a JSON list, not a number"),
        (parse_list, "@/nonexistent/file", "`/nonexistent/file` cannot be read"),
    ],
)
def test_what_is_no_such_json_is_said_to_be_none(
    parse: Callable[..., object], text: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text, option="--x")
    assert message in caught.value.message
