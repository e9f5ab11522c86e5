"""How is a permission's regular expression written so that it means exactly these names?

RabbitMQ searches (it does not match whole names), and uses one expression for exchanges and queues alike:
https://www.rabbitmq.com/docs/access-control
"""

from collections.abc import Iterable

#: matches no name
NOTHING = "^$"
#: matches every name
ANYTHING = ".*"


def literal(name: str) -> str:
    """Return an expression for ``name`` itself.

    Special characters go into brackets, not behind a backslash: Debian's ``rabbitmqctl`` wrapper loses those.
    """
    return "".join(_literal_character(character) for character in name)


def exactly(*alternatives: str) -> str:
    """Return an anchored expression that matches any of the given expressions, and nothing without any."""
    unique = sorted(set(alternatives))
    return f"^({'|'.join(unique)})$" if unique else NOTHING


def names(wanted: Iterable[str]) -> str:
    """Return an anchored expression for exactly these names."""
    return exactly(*(literal(name) for name in wanted))


def _literal_character(character: str) -> str:
    if character.isalnum() or character in "-_@:/% ":
        return character
    # In brackets these three would still be special.
    return f"\\{character}" if character in "^[\\" else f"[{character}]"
