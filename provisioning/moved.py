"""Which objects are no longer as they were?

Digests are short on purpose: a plan is kept in a file, and eight digits of the digest of a password hash say
no more than its salt hides, so no guess at a password can be confirmed by them.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from provisioning.plan import Identity, Resource

#: objects that a message names before it only counts
NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An object as a plan remembers it."""

    label: str
    digest: str


def remember(resources: Mapping[Identity, Resource]) -> dict[Identity, Seen]:
    """Return what is needed to tell later that an object is another one."""
    return {
        identity: Seen(label=resource.label, digest=_digest(resource))
        for identity, resource in resources.items()
    }


def moved(before: Mapping[Identity, Seen], now: Mapping[Identity, Seen]) -> tuple[str, ...]:
    """Return what appeared, changed or disappeared, one phrase for each object."""
    told = [f"{now[i].label} is new" for i in now if i not in before]
    told += [f"{before[i].label} is gone" for i in before if i not in now]
    told += [f"{now[i].label} changed" for i in now if i in before and now[i].digest != before[i].digest]
    return tuple(sorted(told))


def named(phrases: tuple[str, ...]) -> str:
    """Return the first few of ``phrases`` and how many more there are."""
    more = len(phrases) - NAMED
    return "; ".join(phrases[:NAMED]) + (f"; and {more} more" if more > 0 else "")


def _digest(resource: Resource) -> str:
    facts = json.dumps(resource.facts(), sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:8]
