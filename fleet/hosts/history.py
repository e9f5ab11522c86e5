"""Which releases has a host seen, and to which one does it go back? Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleet.hosts.paths import CURRENT, PREVIOUS, RELEASES, UNDONE, release_directory
from provisioning.hosts.objects import HostObject, Link
from provisioning.plan import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The releases of one host, by name."""

    #: None on a host that has none
    current: str | None = None
    #: the one that was current before; None where there was none, or after a rollback
    previous: str | None = None
    #: the one that a rollback has left
    undone: str | None = None
    #: those that are complete there, the newest first
    there: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a host does not go back."""

    reason: str
    hint: str


def history(known: Mapping[Identity, HostObject], there: Sequence[str]) -> History:
    """Return the history of a host from what was seen there."""
    current, previous, undone = (_led_to(known, path) for path in (CURRENT, PREVIOUS, UNDONE))
    return History(current=current, previous=previous, undone=undone, there=tuple(there))


def links(before: History, release: str, *, back: bool) -> tuple[Link, ...]:
    """Return the links that remember, once ``release`` is the current one; ``back`` is a rollback to it."""
    previous, undone = before.previous, before.undone
    if before.current not in (None, release):
        previous, undone = (None, before.current) if back else (before.current, None)
    found = ((PREVIOUS, previous), (UNDONE, undone))
    return tuple(Link(path=path, target=release_directory(name)) for path, name in found if name)


def choose_releases(histories: Mapping[str, History], to: str | None = None) -> Mapping[str, str | Refusal]:
    """Return for each host the release that it goes back to, which is ``to`` where that is given.

    A host that has gone back already stays there; so does one that runs what others go back to, for a rollout
    that stopped half-way never came to it. So a rollback can be said again until it is through.
    """
    ends = {each.current if each.undone else each.previous for each in histories.values()}
    return {host: _choose(host, each, to, ends) for host, each in histories.items()}


def _choose(host: str, seen: History, to: str | None, ends: set[str | None]) -> str | Refusal:
    others = ", ".join(name for name in seen.there if name != seen.current) or "none"
    if seen.current is None:
        return Refusal(reason=f"host `{host}`: it has no release", hint="`fleet provision hosts` brings one")
    if to is None and (seen.undone is not None or seen.current in ends):
        return seen.current
    wanted = to or seen.previous
    if wanted is None:
        reason = f"host `{host}`: nothing is known to have run before {seen.current}"
        return Refusal(reason=reason, hint=f"name a release with `--to`; there besides: {others}")
    if wanted not in seen.there:
        reason = f"host `{host}`: release {wanted} is not there any more"
        return Refusal(reason=reason, hint=f"there besides: {others}; or roll out what the fleet file says")
    return wanted


def _led_to(known: Mapping[Identity, HostObject], path: str) -> str | None:
    link = known.get(("path", path))
    inside = isinstance(link, Link) and link.target.startswith(f"{RELEASES}/")
    return link.target.removeprefix(f"{RELEASES}/") if isinstance(link, Link) and inside else None
