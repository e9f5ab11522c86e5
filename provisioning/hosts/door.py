"""How is a host looked at and changed, over any runner?"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioning import errors
from provisioning.hosts import steps
from provisioning.hosts.observation import HostObservation, questions, read
from provisioning.hosts.runner import Ran, Runner
from provisioning.hosts.sending import ARGV, stream
from provisioning.hosts.state import HostState
from provisioning.moved import moved, named, remember
from provisioning.plan import Change

OBSERVE_SECONDS = 60.0
APPLY_SECONDS = 900.0
AUDIT_ENTRIES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Who changes a host, for its lock and its audit log."""

    #: such as ``ivo``
    name: str
    #: the machine from which the change comes
    origin: str
    #: why, if that was said
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How far the agent came."""

    #: how many changes were made, in order
    done: int
    #: what was kept though it should go, by index, with the reason
    kept: Mapping[int, str]
    #: why it stopped; None when it went through
    failure: str | None
    #: what stood there when it had ended; None where the agent could not tell
    seen: HostObservation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line of a host's audit log."""

    #: seconds since 1970
    at: float
    who: str
    origin: str
    reason: str
    #: what was changed, in words
    done: tuple[str, ...]
    #: the change that failed; None when none did
    failed: str | None
    #: the account that was logged in, and from which address
    login: str
    address: str | None


class HostDoor:
    """A host, seen and changed by the agent that a runner starts there.

    ``root`` is a directory that takes the place of ``/``, for tests; then nothing runs as root.
    """

    def __init__(self, runner: Runner, *, root: str = "/") -> None:
        self.name = runner.name
        self._runner = runner
        self._root = root

    def observe(
        self, desired: HostState, *, contents: bool = False, holding: Mapping[str, str] | None = None
    ) -> HostObservation:
        """Return what stands there of all that ``desired`` names or that is ours, in one round trip.

        With ``contents`` the text of files that differ comes along, for a diff; never that of a secret.
        ``holding`` names directories, each with a file: which directories in them hold it is told besides.
        Raises HostUnusable, or what the runner raises.
        """
        request = {"verb": "observe", "asked": questions(desired, contents=contents, holding=holding)}
        return read(self.name, self._last(self._ask(request, seconds=OBSERVE_SECONDS)), desired)

    def apply(
        self, desired: HostState, changes: Sequence[Change], seen: HostObservation, *, by: Operator
    ) -> Outcome:
        """Make ``changes``, which were planned on ``seen``, in one round trip.

        Raises HostBusy or WorldMoved before anything is changed, HostUnusable, or what the runner raises.
        """
        request = {
            "verb": "apply",
            "asked": questions(desired, contents=False),
            "fingerprint": seen.fingerprint,
            "changes": steps.steps(changes),
            "declared": steps.declared(desired),
            "who": f"{by.name}@{by.origin}",
            "origin": by.origin,
            "reason": by.reason,
        }
        said = self._ask(request, contents=changes, seconds=APPLY_SECONDS)
        return self._outcome(said, seen, desired)

    def audit(self, limit: int = AUDIT_ENTRIES) -> tuple[AuditEntry, ...]:
        """Return the last entries of the host's audit log, oldest first; anybody may ask."""
        request = {"verb": "audit", "limit": limit}
        found = self._last(self._ask(request, seconds=OBSERVE_SECONDS, as_root=False))
        return tuple(_entry(entry) for entry in found["entries"])

    def _ask(
        self,
        request: Mapping[str, Any],
        *,
        seconds: float,
        contents: Sequence[Change] = (),
        as_root: bool = True,
    ) -> list[dict[str, Any]]:
        """Start the agent with a request and return what it said, line by line."""
        sent = stream({**request, "root": self._root}, steps.contents(contents))
        as_root = as_root and self._root == "/"
        ran = self._runner.run(ARGV, stdin=sent, as_root=as_root, timeout_seconds=seconds)
        said = _lines(ran)
        if not said or said[-1]["event"] not in {"seen", "end", "audit", "refused"}:
            raise self._unusable(ran)
        return said

    def _unusable(self, ran: Ran) -> errors.ProvisioningError:
        words = ran.stderr.decode(errors="replace").strip().splitlines()
        why = words[-1] if words else "it said nothing"
        hint = "install Python: `apt-get install python3`" if ran.exit_code == 127 else None
        return errors.HostUnusable(
            f"host `{self.name}`: the agent ended with {ran.exit_code}: {why}", hint=hint
        )

    def _last(self, said: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the answer to a question; raises HostUnusable for a refusal."""
        if said[-1]["event"] == "refused":
            raise errors.HostUnusable(f"host `{self.name}`: {said[-1]['reason']}")
        return said[-1]

    def _outcome(
        self, said: Sequence[dict[str, Any]], before: HostObservation, desired: HostState
    ) -> Outcome:
        done = [line for line in said if line["event"] == "done"]
        kept = {line["index"]: line["kept"] for line in done if line["kept"]}
        last = said[-1]
        if last["event"] == "end":
            seen = read(self.name, last["seen"], desired) if last["seen"] else None
            return Outcome(done=last["done"], kept=kept, failure=last["failure"], seen=seen)
        if done:
            return Outcome(done=len(done), kept=kept, failure=last["reason"])
        raise self._refusal(last, before, desired)

    def _refusal(
        self, said: Mapping[str, Any], seen: HostObservation, desired: HostState
    ) -> errors.ProvisioningError:
        reason = f"host `{self.name}`: {said['reason']}"
        match said.get("why"):
            case "busy":
                return errors.HostBusy(f"{reason}; nothing was changed", hint="wait until that is done")
            case "moved":
                now = read(self.name, said["seen"], desired)
                before, after = (remember({o.identity: o for o in s.objects}) for s in (seen, now))
                what = named(moved(before, after)) or "in something that a plan does not show"
                return errors.WorldMoved(f"{reason} ({what}); nothing was changed", hint="plan again")
            case _:
                return errors.HostUnusable(f"{reason}; nothing was changed")


def _lines(ran: Ran) -> list[dict[str, Any]]:
    said = []
    for line in ran.stdout.splitlines():
        try:
            said.append(json.loads(line))
        except ValueError:
            # Cut off in the middle: what counts is what came before it.
            break
    return [line for line in said if isinstance(line, dict) and "event" in line]


def _entry(found: Mapping[str, Any]) -> AuditEntry:
    return AuditEntry(
        at=float(found["at"]),
        who=str(found["who"]),
        origin=str(found["origin"]),
        reason=str(found["reason"]),
        done=tuple(found["done"]),
        failed=found["failed"],
        login=str(found["login"]),
        address=found["address"],
    )
