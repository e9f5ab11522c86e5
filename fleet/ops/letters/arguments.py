"""With which arguments was this task sent? They may be private: shown on request only, and masked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleet.letters.letter import Letter
from fleet.worker.message import parse_body


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What a task was called with: as text with secrets masked, or as it is."""

    args: Sequence[object]
    kwargs: Mapping[str, object]


def arguments_of(letter: Letter, *, unmasked: bool) -> Arguments | None:
    """Return the arguments of the letter's task, or None when its body holds none that can be read."""
    try:
        body = parse_body(json.loads(letter.body))
    except (ValueError, RecursionError):
        return None
    if body is None:
        return None
    if unmasked:
        return Arguments(args=body.args, kwargs=body.kwargs)
    from fleet.worker.tracing import masked

    return Arguments(
        args=[masked(value) for value in body.args],
        kwargs={name: masked(value, name=name) for name, value in body.kwargs.items()},
    )
