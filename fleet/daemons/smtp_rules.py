"""What does the SMTP sink answer to which recipient? Pure: rules and counts in, an answer out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from fnmatch import fnmatchcase


class Stage(StrEnum):
    """Where in the conversation a rule speaks."""

    RCPT = "rcpt"
    DATA = "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One scripted answer; the first rule that matches a recipient at a stage and is not used up speaks."""

    #: glob over recipient addresses
    recipient: str
    #: such as ``451 4.3.0 try again later``; None leaves the normal answer
    reply: str | None = None
    stage: Stage = Stage.RCPT
    #: how often the rule speaks for each recipient; None means always
    times: int | None = None
    #: close the connection instead of answering; at stage ``data`` the message has been stored by then
    disconnect: bool = False
    #: wait before answering
    delay_seconds: float = 0.0


def choose(
    rules: Sequence[Rule], stage: Stage, recipient: str, spoken: Mapping[tuple[int, str], int]
) -> int | None:
    """Return the index of the rule that speaks, or None; ``spoken`` counts per (rule, recipient)."""
    for index, rule in enumerate(rules):
        used_up = rule.times is not None and spoken.get((index, recipient), 0) >= rule.times
        if rule.stage == stage and not used_up and fnmatchcase(recipient.lower(), rule.recipient.lower()):
            return index
    return None


def dump(rules: Sequence[Rule]) -> str:
    """Return ``rules`` as the JSON text that the sink reads."""
    return json.dumps([asdict(rule) for rule in rules])


def load(text: str) -> tuple[Rule, ...]:
    """Return the rules that ``text`` holds."""
    return tuple(Rule(**(entry | {"stage": Stage(entry["stage"])})) for entry in json.loads(text))
