"""In which slot does each worker of a host run, and which instance ends when a new one runs?

A worker that must start anew, for another release or other files, starts in its free slot, and the old
instance ends when the new one is ready: nobody waits for a backup that takes hours. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fleet.model import SLOTS
from provisioning.errors import HostBusy


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen of one instance."""

    #: it starts with the host
    enabled: bool = False
    #: it runs, and was not told to end
    active: bool = False
    #: it was told to end, and has not yet
    ending: bool = False
    #: it was started with what it would be started with now
    is_current: bool = False
    #: when it was started, in seconds since the host was
    since: float = 0.0

    @property
    def is_busy(self) -> bool:
        """Something runs in the slot."""
        return self.active or self.ending


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Where a worker is to run."""

    #: the slot that runs from now on
    runs: str
    #: slots that run now, and are to end once ``runs`` is ready
    ends: tuple[str, ...] = ()
    #: slots that are ending already
    ending: tuple[str, ...] = ()


def choose(host: str, worker: str, seen: Mapping[str, Seen], *, anew: bool = False) -> Slots:
    """Return where ``worker`` is to run on ``host``, given what was seen of its slots.

    With ``anew`` it starts anew whatever runs. Raises HostBusy when it must start anew and its other slot has
    not ended yet.
    """
    slots = {slot: seen.get(slot, Seen()) for slot in SLOTS}
    ending = tuple(slot for slot, each in slots.items() if each.ending)
    # Both run where a change was cut off between the start of the new and the end of the old.
    runs = sorted((slot for slot, each in slots.items() if each.active), key=lambda slot: -slots[slot].since)
    current = [slot for slot in runs if slots[slot].is_current]
    if anew:
        current = runs[:1] if len(runs) == len(SLOTS) else []
    if current:
        return Slots(runs=current[0], ends=tuple(slot for slot in runs if slot != current[0]), ending=ending)
    enabled = [slot for slot, each in slots.items() if each.enabled and not each.is_busy]
    free = enabled + [slot for slot, each in slots.items() if not each.is_busy and slot not in enabled]
    if not free:
        raise _busy(host, worker, runs, ending)
    return Slots(runs=free[0], ends=tuple(runs), ending=ending)


def _busy(host: str, worker: str, runs: Sequence[str], ending: Sequence[str]) -> HostBusy:
    """Return why a worker cannot start anew; ``runs`` has the slots that run, the newest first."""
    reason = f"host `{host}`: worker `{worker}` has to start anew, and "
    if ending:
        old = _named(worker, ending)
        have = "has" if len(ending) == 1 else "have"
        return HostBusy(
            f"{reason}{old} {have} not ended yet; nothing was changed",
            hint="wait until it has, or let its tasks run again: `systemctl kill --signal=QUIT UNIT` there",
        )
    return HostBusy(
        f"{reason}{_named(worker, SLOTS)} both run; nothing was changed",
        hint=f"let the older one end: `systemctl stop --no-block fleet-worker@{worker}-{runs[-1]}` there",
    )


def _named(worker: str, slots: Iterable[str]) -> str:
    return " and ".join(f"`fleet-worker@{worker}-{slot}`" for slot in slots)
