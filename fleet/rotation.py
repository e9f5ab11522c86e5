"""What is the next step of a rotation, whatever became of the steps before?

A password is changed by changing the user: a second one with the same rights (the other slot, see
``fleet.accounts``) is made, everybody moves over to it, and the first one goes. Nothing remembers how far
that came: what is kept as passwords and what the broker has tell it all. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Step(StrEnum):
    """What is done next, in the order of a rotation."""

    #: write a new password beside the kept one
    PREPARE = "prepare"
    #: make the user that it belongs to
    CREATE = "create"
    #: let it take the place of the kept one
    SWITCH = "switch"
    #: give it to the hosts; when nobody uses the user in the other slot any more, delete that one
    FINISH = "finish"
    #: no rotation is under way
    REST = "rest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a password's rotation has come."""

    #: a password for the other slot lies beside the kept one
    is_prepared: bool = False
    #: a user in the other slot is there
    is_there: bool = False
    #: it has the prepared password and all the rights
    is_complete: bool = False


def step_of(standing: Standing, *, begin: bool) -> Step:
    """Return the next step for one password; ``begin`` a rotation where none is under way."""
    if standing.is_prepared:
        return Step.SWITCH if standing.is_complete else Step.CREATE
    if standing.is_there:
        return Step.FINISH
    return Step.PREPARE if begin else Step.REST


def next_step(standings: Mapping[str, Standing], *, begin: bool) -> tuple[Step, tuple[str, ...]]:
    """Return the earliest step that any password needs, and which passwords need it."""
    steps = {name: step_of(each, begin=begin) for name, each in standings.items()}
    first = min(steps.values(), key=list(Step).index, default=Step.REST)
    return first, tuple(name for name, step in steps.items() if step is first)


def under_way(standings: Mapping[str, Standing]) -> tuple[str, ...]:
    """Return the passwords whose rotation has begun and is not over."""
    return tuple(name for name, each in standings.items() if step_of(each, begin=False) is not Step.REST)
