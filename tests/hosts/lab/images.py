"""Which read-only trees does a host stand on, and are they built?

An image is a Debian suite and layers of packages. Each layer is a directory of its own, kept below the lab's
root under a key of everything that went into it, and built when it is missing. Hosts mount the layers over
each other; nothing is ever copied.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fleet.daemons.process import silent
from tests.hosts.lab.build import build_base, build_packages, build_python, offer_packages
from tests.hosts.lab.layers import BASE, Image, Layer
from tests.hosts.lab.locks import locked
from tests.hosts.lab.system import lab_root

#: changes when a recipe in build.py does, so that trees of an older recipe are not taken for new ones
RECIPE = 1
LOCK_SECONDS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One layer of an image on the disk."""

    directory: Path
    layer: Layer
    suite: str
    #: the trees below it, lowest first
    below: tuple["Tree", ...]

    @property
    def root(self) -> Path:
        """Where the layer's files lie."""
        return self.directory / "tree"

    @property
    def is_built(self) -> bool:
        """Tell whether the tree is there; whoever sees it sees all of it."""
        return self.directory.exists()


def trees(image: Image, root: Path | None = None) -> tuple[Tree, ...]:
    """Return the trees of ``image``, lowest first, whether they are built or not."""
    found: list[Tree] = []
    for layer in (BASE, *image.layers):
        below = tuple(found)
        names = "+".join((*(tree.layer.name for tree in below), layer.name))
        name = f"{image.suite}-{names}-{_key(image.suite, (*(tree.layer for tree in below), layer))}"
        directory = (root or lab_root()) / "images" / name
        found.append(Tree(directory=directory, layer=layer, suite=image.suite, below=below))
    return tuple(found)


def provide(
    image: Image, *, root: Path | None = None, report: Callable[[str], None] = silent
) -> tuple[Path, ...]:
    """Return the layers of ``image`` topmost first, as overlayfs wants them, building what is missing.

    Raises LabFailed when no mirror answers or a package does not install.
    """
    wanted = trees(image, root)
    for tree in wanted:
        if not tree.is_built:
            tree.directory.parent.mkdir(parents=True, exist_ok=True)
            with locked(_lock(tree.directory), timeout_seconds=LOCK_SECONDS, report=report):
                if not tree.is_built:
                    _build(tree, report)
    return tuple(tree.root for tree in reversed(wanted))


def _build(tree: Tree, report: Callable[[str], None]) -> None:
    report(f"building image {tree.directory.name} (once)")
    # What a killed build left: nothing is mounted there, for its mounts died with it.
    work = tree.directory.with_name(f"{tree.directory.name}.new")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    lowers = tuple(one.root for one in reversed(tree.below))
    if not lowers:
        build_base(tree.suite, tree.layer.packages, work)
    elif tree.layer.is_offered:
        offer_packages(tree.layer.packages, lowers, work)
    elif tree.layer.requirements:
        build_python(tree.layer.requirements, lowers, work)
    else:
        build_packages(tree.layer.packages, lowers, work)
    size = disk_bytes(work / "tree")
    record = {"suite": tree.suite, "layer": tree.layer.name, "packages": tree.layer.packages, "bytes": size}
    (work / "layer.json").write_text(json.dumps(record) + "\n", encoding="utf-8")
    work.rename(tree.directory)
    report(f"built image {tree.directory.name}: {size / 1e6:.0f} MB")


def built(root: Path | None = None) -> dict[str, int]:
    """Return the size in bytes of each built layer, by its directory's name."""
    records = sorted(((root or lab_root()) / "images").glob("*/layer.json"))
    whole = [record for record in records if record.parent.suffix != ".new"]
    return {record.parent.name: int(json.loads(record.read_text())["bytes"]) for record in whole}


def forget(root: Path | None = None) -> int:
    """Remove every image, and what killed builds left; return the bytes that were freed."""
    freed = 0
    for path in sorted(((root or lab_root()) / "images").glob("[!.]*")):
        with locked(_lock(path), timeout_seconds=LOCK_SECONDS):
            freed += disk_bytes(path)
            # Under this name it is not taken for an image, should the removal be interrupted.
            doomed = path.with_name(f"{path.name.removesuffix('.new')}.new")
            path.rename(doomed)
            shutil.rmtree(doomed)
    return freed


def disk_bytes(directory: Path) -> int:
    """Return how much disk the files below ``directory`` take, each file once."""
    seen: dict[tuple[int, int], int] = {}
    for path in directory.rglob("*"):
        stat = path.lstat()
        seen[stat.st_dev, stat.st_ino] = stat.st_blocks * 512
    return sum(seen.values())


def _lock(directory: Path) -> Path:
    return directory.with_name(f".{directory.name.removesuffix('.new')}.lock")


def _key(suite: str, layers: tuple[Layer, ...]) -> str:
    parts = [
        (layer.name, layer.packages, layer.requirements, *(("offered",) if layer.is_offered else ()))
        for layer in layers
    ]
    return hashlib.sha256(json.dumps((RECIPE, suite, parts)).encode()).hexdigest()[:10]
