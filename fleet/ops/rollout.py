"""How do many hosts change one batch after the other, so that what is wrong stops at the first host?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fleet.model import Fleet
from fleet.ops.host_change import HostChange
from fleet.ops.hosts import SudoPassword
from fleet.ops.provision_hosts import apply_hosts
from fleet.ops.witness import Witness
from provisioning.apply import Report
from provisioning.hosts.door import Operator
from provisioning.hosts.many import Done


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """How far a rollout came."""

    done: tuple[Done[Report], ...]
    #: hosts that were left as they are, because one before them failed
    not_begun: tuple[str, ...]


def roll_out(
    fleet: Fleet,
    changes: Mapping[str, HostChange],
    batches: Sequence[Sequence[str]],
    *,
    by: Operator,
    witness: Witness | None = None,
    allow_destructive: bool = False,
    sudo_password: SudoPassword | None = None,
    on_batch: Callable[[Sequence[str]], None] = lambda _: None,
    on_done: Callable[[Done[Report]], None] = lambda _: None,
) -> Rollout:
    """Change one batch of hosts after the other; a batch in which a host fails is the last.

    A host is changed when its new instances are ready, which means that the broker delivers to them, and the
    ``witness`` has seen so. Where one does not get ready, that host goes on with the old ones; hosts that
    were changed before stay changed.
    """
    done: list[Done[Report]] = []
    for at, batch in enumerate(batches):
        on_batch(batch)
        done += apply_hosts(
            fleet,
            {name: changes[name] for name in batch},
            by=by,
            witness=witness,
            allow_destructive=allow_destructive,
            sudo_password=sudo_password,
            on_done=on_done,
        )
        if not all(is_good(each) for each in done):
            left = tuple(name for later in batches[at + 1 :] for name in later)
            return Rollout(done=tuple(done), not_begun=left)
    return Rollout(done=tuple(done), not_begun=())


def is_good(done: Done[Report]) -> bool:
    """Tell whether a host is as desired after its change."""
    return done.value is not None and done.value.converged
