"""What must change on one host, and is that more than to clear away what has ended?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from fleet.hosts.install import Release
from fleet.hosts.paths import RELEASES
from fleet.hosts.units import unit_file, worker_of_unit
from provisioning.hosts.objects import File, HostObject, Unit
from provisioning.hosts.planning import HostPlan
from provisioning.hosts.state import HostState
from provisioning.plan import Action, Change


@dataclass(frozen=True, slots=True, kw_only=True)
class HostChange:
    """Everything that must change on one host, in two steps: new instances start, then old ones end."""

    #: name of the release that runs from now on
    release: str
    #: all of the release was there when that was looked for
    is_complete: bool = True
    #: what is installed first; None where it is there
    install: Release | None = None
    #: files, links and the start of what shall run
    begin: HostPlan
    #: what stands there once what runs besides has been told to end; None where nothing has
    end: HostState | None = None
    #: units that are told to end
    ends: tuple[str, ...] = ()
    #: units of a stop that goes on
    ending: tuple[str, ...] = ()
    #: those of ``ends`` whose worker is not to run on the host any more
    leaving: tuple[str, ...] = ()
    #: what stands there again if a new instance does not get ready
    back: HostState | None = field(default=None, repr=False)
    #: names of releases that something on the host runs from; None: there are no old ones that may go
    releases_in_use: frozenset[str] | None = None
    #: node name of each instance that shall run → broker queues that it consumes
    consumes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    #: what an operator should know besides
    notes: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing is to be done."""
        return self.install is None and not self.begin.changes and not self.ends

    @property
    def only_clears(self) -> bool:
        """Nothing is to be done, but that what instances have left that have ended is taken away.

        Such a host does all that it should: it is no drift, and whoever only keeps hosts as they should be
        may put it off.
        """
        return self.install is None and not self.ends and all(map(_is_left, self.begin.changes))

    @property
    def clears(self) -> tuple[str, ...]:
        """The units that have ended, and of which something is left."""
        left = {_unit_of(change) for change in self.begin.changes if _is_left(change)}
        more = {_unit_of(change) for change in self.begin.changes if not _is_left(change)}
        return tuple(sorted(left - more))

    def put_off(self) -> "HostChange":
        """Return nothing to be done in place of what only clears, and say so."""
        assert self.only_clears
        nothing = replace(self.begin, plan=replace(self.begin.plan, changes=()))
        told = (f"{unit} has ended, and what it left goes with the next change" for unit in self.clears)
        return replace(self, begin=nothing, notes=(*self.notes, *told))


def host_state(objects: Iterable[HostObject]) -> HostState:
    """Return the state of a host that has ``objects``, and of releases whichever it has."""
    # What older releases ran with lies beside them, and goes with them.
    return HostState(objects, keeps=(RELEASES,))


def _is_left(change: Change) -> bool:
    """Tell whether a change deletes the unit of an instance of a worker that is at rest, or its file."""
    before = change.before if change.action is Action.DELETE else None
    if isinstance(before, Unit):
        # One that is enabled would run again when the host boots.
        at_rest = before.active is False and not before.ending and not before.enabled
        return at_rest and worker_of_unit(before.name) is not None
    return isinstance(before, File) and worker_of_unit(before.path.removeprefix(unit_file(""))) is not None


def _unit_of(change: Change) -> str:
    return change.identity[1].removeprefix(unit_file(""))
