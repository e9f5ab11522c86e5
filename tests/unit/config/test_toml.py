import pytest

from fleet.config.toml import read_toml
from fleet.errors import Problem


def problem(text: str) -> Problem:
    found = read_toml(text, source="f")
    assert isinstance(found, Problem)
    return found


@pytest.mark.parametrize(
    ("text", "key", "first", "second"),
    [
        ("[a]\n[b]\n[a]\n", "a", 1, 3),
        ("[a]\nu = 1\nu = 2", "a.u", 2, 3),
        ("[a]\nu = 1\n\nu = [\n  1,\n  2,\n]\n", "a.u", 2, 4),
        ("[a]\nb.c = 1\n[a.b]\n", "a.b", 2, 3),
        ('[a]\r\n"x y" = """\r\n"""\r\n\'x y\' = 1\r\n', 'a."x y"', 2, 4),
        ("[[a]]\nk = 1\n[[a]]\nk = 2\nk = 3\n", "a[1].k", 4, 5),
    ],
)
def test_what_is_declared_twice_is_named_with_both_lines(
    text: str, key: str, first: int, second: int
) -> None:
    found = problem(text)
    assert (found.key, found.line) == (key, second)
    assert found.message == f"is declared twice, first on line {first}"


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = 1\n[b\n", 2), ("a = 1\nb = 'x\n\n", 2), ("a = 1\n[a.b]\n", 2), ("x = {a = 1, a = 2}", 1)],
)
def test_any_other_fault_is_told_with_its_line(text: str, line: int) -> None:
    found = problem(text)
    assert found.line == line
    assert found.message.startswith("not valid TOML: ")
    assert "at line" not in found.message


def test_a_number_too_long_for_python_is_a_problem_of_the_file() -> None:
    assert "digits" in problem("x = " + "9" * 5000).message
