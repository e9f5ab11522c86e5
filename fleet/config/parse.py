"""Which fleet does this text declare, or what is wrong with it, all at once?"""

from collections.abc import Sequence

from fleet.config.checks import check
from fleet.config.checks.draft import Draft
from fleet.config.convert import convert
from fleet.config.locate import locate
from fleet.config.problems import Problems
from fleet.config.secret import Secrets
from fleet.config.shape import well_formed
from fleet.config.toml import read_toml
from fleet.config.version import PATH, VERSION, newer_version
from fleet.errors import ConfigError, Problem
from fleet.model import Fleet


def parse(text: str, *, source: str, plaintext_secrets: bool = False) -> Fleet:
    """Return the fleet that the fleet file ``text`` declares; ``source`` is its path, for messages.

    Raises ConfigError with every problem that can be seen at once.
    """
    try:
        return _parse(text, source, accept_plaintext=plaintext_secrets)
    except RecursionError:
        problem = Problem(file=source, key="", message="values are nested too deeply")
        raise _error([problem], source) from None


def _parse(text: str, source: str, *, accept_plaintext: bool) -> Fleet:
    document = read_toml(text, source=source)
    if isinstance(document, Problem):
        raise _error([document], source)
    problems = Problems(source=source, lines=locate(text))
    if newer := newer_version(document):
        problems.add(PATH, f"is {newer}, and this release of fleet reads fleet files up to version {VERSION}")
        raise ConfigError(problems.in_order(), hint="use the release of fleet that this file is written for")
    shape = well_formed(document, problems)
    if shape is None:
        raise _error(problems.in_order(), source)
    secrets = Secrets(accept_plaintext=accept_plaintext, problems=problems)
    fleet = convert(shape.file, source=source, secrets=secrets, problems=problems)
    check(Draft(fleet=fleet, file=shape.file, problems=problems), faulty=shape.faulty)
    if problems.in_order():
        raise _error(problems.in_order(), source)
    return fleet


def _error(problems: Sequence[Problem], source: str) -> ConfigError:
    return ConfigError(problems, hint=f"correct {source} and run `fleet config check` again")
