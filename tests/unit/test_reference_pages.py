import pytest

from tests.docs.cli import commands
from tests.docs.pages import PAGES, ROOT


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_says_what_the_code_says(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"


def test_every_command_and_option_explains_itself() -> None:
    silent = [
        f"{path} {parameter.opts}"
        for path, command in commands()
        for parameter in command.params
        if parameter.param_type_name == "option" and not getattr(parameter, "help", None)
    ]
    silent += [path for path, command in commands() if not command.help]
    assert not silent
