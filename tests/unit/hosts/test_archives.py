"""The control machine keeps the archives that were used last, and none goes that somebody uses."""

import os
import subprocess
import sys
from pathlib import Path

from fleet.hosts.archives import drop_old, find, put
from fleet.hosts.cache import Held, drop
from fleet.hosts.target import Target

BOOKWORM = Target(python=(3, 11), machine="x86_64", glibc_minor=36)
TRIXIE = Target(python=(3, 13), machine="x86_64", glibc_minor=41)
#: holds a file until its stdin ends
HOLDER = """\
import pathlib, sys
from fleet.hosts.cache import Held
file = Held(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def keep(cache: Path, *names: str, target: Target = BOOKWORM) -> list[Path]:
    """Put archives that nobody holds, the later ones in ``names`` used later."""
    made = []
    for moment, name in enumerate(names, start=1):
        path = put(
            name, target, name.encode(), cache=cache, is_compiled=True, parts=(f"of-{name}", "all")
        ).archive
        os.utime(path, (moment, moment))
        made.append(path)
    return made


def test_the_archives_that_were_used_last_stay_with_their_parts(tmp_path: Path) -> None:
    keep(tmp_path, "1-a", target=TRIXIE)
    oldest, *others = keep(tmp_path, "1-a", "1-b", "1-c")
    assert find("1-a", BOOKWORM, cache=tmp_path) is not None
    assert drop_old(BOOKWORM, cache=tmp_path, keep=2) == {"all", "of-1-a", "of-1-c"}
    assert [path.exists() for path in (oldest, *others)] == [True, False, True]
    assert find("1-b", BOOKWORM, cache=tmp_path) is None
    assert sorted(path.name for path in oldest.parent.glob("*.json")) == ["1-a.json", "1-c.json"]
    assert find("1-a", TRIXIE, cache=tmp_path) is not None


def test_an_archive_that_another_process_uses_stays_for_as_long(tmp_path: Path) -> None:
    oldest, _ = keep(tmp_path, "1-a", "1-b")
    argv = (sys.executable, "-c", HOLDER, str(oldest))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert "of-1-a" in drop_old(BOOKWORM, cache=tmp_path, keep=1)
        assert find("1-a", BOOKWORM, cache=tmp_path) is not None
        os.utime(oldest, (1, 1))
        other.communicate(timeout=10)
    assert drop_old(BOOKWORM, cache=tmp_path, keep=1) == {"all", "of-1-b"}
    assert find("1-a", BOOKWORM, cache=tmp_path) is None


def test_what_is_held_is_not_dropped_and_what_is_dropped_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    held = Held(path)
    assert not drop(path)
    assert path.exists()
    held.close()
    assert drop(path)
    assert drop(path)
    assert not path.exists()
