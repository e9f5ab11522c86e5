"""Desired states of hosts, made up by hypothesis."""

import hashlib
import io
import tarfile
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from provisioning.hosts.objects import Directory, File, HostObject, Link, OnChange, SystemUser, Tree, Unit
from provisioning.hosts.state import HostState
from tests.local_runner import ME, MY_GROUP

DIRECTORIES = ("/srv", "/srv/in", "/opt")
LEAVES = tuple(f"{directory}/{name}" for directory in DIRECTORIES for name in ("one", "two"))
TREES = ("/opt/release-1", "/opt/release-2")
#: what no text, record, log or message may show
SECRET = b"correct horse battery staple"

_YES = st.just(True)  # noqa: FBT003 - it is a value
_modes = st.sampled_from((0o600, 0o640, 0o755, 0o4755))
_contents = st.sampled_from((b"", b"one\n", b"one\ntwo\n", b"\xff\x00"))


def packed(files: Mapping[str, bytes], *, compression: str = "gz") -> bytes:
    """Return a tar file of ``files``."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=f"w:{compression}") as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def tree(path: str, archive: Path) -> Tree:
    """Return the tree that comes as ``archive``."""
    return Tree(path=path, digest=hashlib.sha256(archive.read_bytes()).hexdigest(), archive=archive)


@cache
def _archives() -> tuple[Path, ...]:
    # For the run: hypothesis makes states without fixtures.
    directory = Path(tempfile.mkdtemp(prefix="fleet-archives-"))
    made = []
    for text in (b"first", b"second"):
        archive = directory / text.decode()
        archive.write_bytes(packed({"bin/run": text, "lib/deep/module.py": text}))
        made.append(archive)
    return tuple(made)


def _leaf(path: str) -> st.SearchStrategy[HostObject]:
    mine = {"path": st.just(path), "owner": st.just(ME), "group": st.just(MY_GROUP)}
    return st.one_of(
        st.builds(File, **mine, mode=_modes, content=_contents),
        st.builds(File, **mine, mode=st.just(0o600), content=st.just(SECRET) | _contents, secret=_YES),
        st.builds(Directory, **mine, mode=_modes),
        st.builds(Link, path=st.just(path), target=st.sampled_from(("one", "/absent"))),
    )


@st.composite
def placed_states(draw: st.DrawFn) -> HostState:
    """Return states of what stands at paths: directories with files, links, directories and trees in them."""
    objects: list[HostObject] = [
        Directory(path=path, owner=ME, group=MY_GROUP, mode=draw(st.sampled_from((0o755, 0o700))))
        for path in DIRECTORIES
    ]
    objects += [draw(_leaf(path)) for path in draw(st.sets(st.sampled_from(LEAVES)))]
    objects += [
        tree(path, draw(st.sampled_from(_archives()))) for path in draw(st.sets(st.sampled_from(TREES)))
    ]
    return HostState(draw(st.permutations(objects)))


_users = st.builds(
    SystemUser,
    name=st.sampled_from(("fleet", "mail-out")),
    home=st.sampled_from(("/var/lib/fleet", "/nonexistent")),
    groups=st.sets(st.sampled_from(("adm", "backup"))).map(lambda found: tuple(sorted(found))),
)
_units = st.builds(
    Unit,
    name=st.sampled_from(("fleet-worker@a.service", "fleet.target", "fleet-beat.service")),
    enabled=st.none() | st.booleans(),
    active=st.none() | st.booleans(),
    restart_on=st.sampled_from(("", "aa", "bb")),
    on_change=st.sampled_from(OnChange),
)


@st.composite
def host_states(draw: st.DrawFn) -> HostState:
    """Return states of everything that a host can have."""
    named = st.lists(st.one_of(_users, _units), unique_by=lambda thing: thing.identity)
    return HostState(draw(st.permutations([*draw(placed_states()), *draw(named)])))
