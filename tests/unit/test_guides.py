"""Every ``fleet`` command that the guides and the README show is one that the command line understands."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runbooks import parse_with_the_real_command_line

ROOT = Path(__file__).parents[2]
GUIDES = sorted(
    path
    for pattern in ("README.md", "docs/*.md", "docs/how-to/*.md", "docs/explanation/*.md")
    for path in ROOT.glob(pattern)
)
#: a command at the start of a line of a code block, with or without a prompt
_COMMAND = re.compile(r"(?:    )?(?:\$ |[a-z]+\$ )?(fleet [a-z-].*)")


def commands(path: Path) -> Iterator[tuple[int, list[str]]]:
    fenced, pending = False, ""
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if text.startswith("```"):
            fenced = not fenced
        line = pending + text.strip() if pending else text
        if not fenced and not line.startswith("    "):
            continue
        found = _COMMAND.fullmatch(line)
        pending = line.removesuffix("\\") if found and line.endswith("\\") else ""
        # Pictures of the flow are drawn with arrows and dots.
        if found and not pending and not re.search(r"[─►│…]", line):
            yield number, _words(found[1])


def _words(command: str) -> list[str]:
    words = shlex.split(command, comments=True)
    for stop in ("|", "||", ">", "&", "&&", ";"):
        if stop in words:
            words = words[: words.index(stop)]
    return words


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_guide_shows_commands_that_exist(path: Path) -> None:
    for number, words in commands(path):
        try:
            parse_with_the_real_command_line(words)
        except Exception as error:
            raise AssertionError(f"{path.name}:{number}: {' '.join(words)}") from error


def test_the_guides_show_commands_at_all() -> None:
    assert sum(1 for path in GUIDES for _ in commands(path)) > 10


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_guide_links_only_to_pages_that_exist(path: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    local = [link for link in links if not link.startswith(("http:", "https:", "mailto:"))]
    assert [link for link in local if not (path.parent / link).exists()] == []
