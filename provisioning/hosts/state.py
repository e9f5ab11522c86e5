"""What shall stand on a host?"""

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from provisioning.errors import MalformedState
from provisioning.hosts.objects import Directory, File, HostObject, Placed, SystemUser, Tree, Unit
from provisioning.plan import Action, Change, Identity, Loss, Lost, Resource

#: what the agent keeps for itself
KEPT = ("/var/lib/fleet-provision", "/run/fleet-provision", "/var/log/fleet/audit.jsonl")
_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_OWNER = re.compile(r"[a-z][a-z0-9-]{0,62}")
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*\.(service|socket|timer|target|path|mount)")


class HostState:
    """The objects that a host must have; what else we put there may be pruned, what others did never is.

    ``owner`` is who "we" are: states of different owners on one host leave each other alone. What lies below
    one of the directories ``keeps`` is never pruned. A file without a content, but with the digest of one, is
    there already, and stays.
    """

    def __init__(
        self, objects: Iterable[HostObject], *, owner: str = "fleet", keeps: Sequence[str] = ()
    ) -> None:
        """Take the objects in any order; raises MalformedState."""
        self.owner = owner
        self._keeps = tuple(f"{path}/" for path in keeps)
        self._objects = tuple(objects)
        problems = [problem for thing in self._objects if (problem := _problem(thing))]
        counts = Counter(thing.identity for thing in self._objects)
        problems += [
            f"`{identity[1]}` is declared twice" for identity in sorted(counts) if counts[identity] > 1
        ]
        if not _OWNER.fullmatch(owner):
            problems.append(f"`{owner}` is no name for an owner")
        if problems:
            raise MalformedState("; ".join(problems))

    def __iter__(self) -> Iterator[HostObject]:
        return iter(self._objects)

    def owns(self, resource: Resource) -> bool:
        """Tell whether an undeclared object may be pruned: only what the manifest names is ever looked at.

        Users stay: files of theirs would belong to nobody, and later to somebody else.
        """
        if isinstance(resource, Placed):
            return not resource.path.startswith(self._keeps)
        return not isinstance(resource, SystemUser)

    def losses(
        self, changes: Sequence[Change], actual: Mapping[Identity, Resource]
    ) -> Mapping[Identity, Loss]:
        """Return what is lost where something foreign of another kind must make way."""
        del actual
        return {change.identity: loss for change in changes if (loss := _loss(change))}


def _loss(change: Change) -> Loss | None:
    before, after = change.before, change.after
    if change.action is Action.CREATE or not isinstance(before, Placed) or after is None:
        return None
    if type(before) is type(after):
        return None
    if isinstance(before, Directory) and isinstance(after, Tree):
        return Loss(what=Lost.DATA, reason="a directory stands there, and what it holds would be deleted")
    if before.ours:
        return None
    return Loss(what=Lost.DATA, reason=f"a {before.KIND} stands there that was not put there by us")


def _problem(thing: HostObject) -> str | None:
    if isinstance(thing, SystemUser):
        return _user_problem(thing)
    if isinstance(thing, Unit):
        return None if _UNIT.fullmatch(thing.name) else f"`{thing.name}` is no name of a unit"
    assert isinstance(thing, Placed)
    return _path_problem(thing.path) or _content_problem(thing)


def _user_problem(user: SystemUser) -> str | None:
    if not _NAME.fullmatch(user.name) or user.name == "root":
        return f"`{user.name}` is no name for a user"
    if wrong := [group for group in user.groups if not _NAME.fullmatch(group)]:
        return f"`{wrong[0]}` is no name for a group"
    return _path_problem(user.home) or _path_problem(user.shell)


def _path_problem(path: str) -> str | None:
    if (
        not path.startswith("/")
        or path.startswith("//")
        or path == "/"
        or posixpath.normpath(path) != path
        or not path.isprintable()
    ):
        return f"`{path!r}` is no absolute path in its plain form"
    if any(path == kept or path.startswith(f"{kept}/") for kept in KEPT):
        return f"`{path}` is where provisioning keeps its own records"
    return None


def _content_problem(thing: Placed) -> str | None:
    if isinstance(thing, File) and thing.content is None and not thing.digest:
        return f"`{thing.path}` has no content"
    if isinstance(thing, Tree) and thing.archive is None:
        return f"`{thing.path}` has no archive"
    if isinstance(thing, File | Directory) and not 0 <= thing.mode <= 0o7777:
        return f"`{thing.path}` has the impossible mode {thing.mode:o}"
    if isinstance(thing, File) and thing.secret and thing.mode & 0o007:
        return f"`{thing.path}` is secret and would be open to everybody"
    return None
