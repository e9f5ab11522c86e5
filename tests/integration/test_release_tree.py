"""What is installed where it is built runs where it is unpacked: real wheels, pip, tar and Python."""

import importlib.metadata
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.errors import FleetError
from fleet.hosts.assembled import assemble
from fleet.hosts.own import own_wheel
from fleet.hosts.packed import MOMENT
from fleet.hosts.parts import drop_parts, make_parts
from fleet.hosts.record import site_packages
from fleet.hosts.target import target_of
from fleet.hosts.wheel import Wheel, pack
from provisioning.hosts.agent.look import runtime

SHOP = Wheel(
    name="shop",
    version="1.4",
    files={
        "shop/__init__.py": b"import sys\ndef main():\n    print(main.__code__.co_filename, sys.prefix)\n",
        "shop-1.4.data/scripts/shop-shell": b"#!/bin/sh\necho shell\n",
        "shop-1.4.data/data/share/shop/words.txt": b"words",
        "shop-1.4.data/data/lib/shop.so": b"library",
    },
    entry_points="[console_scripts]\nshop = shop:main\n",
)

HERE = target_of(runtime())


def wheels() -> dict[str, bytes]:
    return {SHOP.file_name: pack(SHOP), **own_wheel()}


def unpack(archive: bytes, home: Path) -> None:
    """Do what a host does."""
    subprocess.run((sys.executable, "-I", "-m", "venv", "--without-pip", home), check=True, timeout=60)
    tar = ("tar", "--extract", "--gzip", "--no-same-owner", f"--directory={home}")
    subprocess.run(tar, input=archive, check=True, timeout=60)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("host")
    parts = make_parts(wheels(), HERE, cache=place / "cache")
    unpack(assemble(parts.values(), python=f"{place}/home/bin/python"), place / "home")
    return place / "home"


def said(*argv: str | Path) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout + done.stderr


def test_scripts_run_and_code_knows_the_file_that_it_lies_in(home: Path) -> None:
    site = home / site_packages(HERE.python)
    assert said(home / "bin/shop") == f"{site}/shop/__init__.py {home}\n"
    assert said("sh", home / "bin/shop-shell") == "shell\n"
    assert (home / "share/shop/words.txt").read_text() == "words"
    assert (home / "lib/shop.so").read_text() == "library"


def test_modules_come_compiled_until_somebody_edits_them(home: Path) -> None:
    site = home / site_packages(HERE.python)
    sources = list(site.rglob("*.py"))
    assert len(sources) > 100
    assert {path.stat().st_mtime for path in sources} == {MOMENT}
    compiled = {path: path.stat().st_mtime_ns for path in site.rglob("*.pyc")}
    assert len(compiled) == len(sources)
    again = (home / "bin/python", "-I", "-m", "compileall", "-q", site)
    said(*again)
    assert {path: path.stat().st_mtime_ns for path in compiled} == compiled
    module = site / "shop/__init__.py"
    before = module.read_text()
    module.write_text(before.replace("main.__code__", "'edited', main.__code__"))
    assert said(home / "bin/shop").startswith("edited ")


def test_what_is_installed_can_be_listed_with_all_its_files(home: Path) -> None:
    site = home / site_packages(HERE.python)
    (shop,) = importlib.metadata.distributions(name="shop", path=[str(site)])
    assert shop.version == "1.4"
    files = {path.name: path for path in shop.files or ()}
    assert {"shop", "shop-shell", "words.txt", "shop.so"} < files.keys()
    assert all(Path(str(path.locate())).exists() for path in files.values())
    listed = said(sys.executable, "-m", "pip", "list", f"--path={site}", "--disable-pip-version-check")
    assert {line.split()[0] for line in listed.splitlines()[2:]} == {"fleet", "shop"}


def test_nobody_but_root_can_write_what_is_unpacked_and_everybody_can_read_it(home: Path) -> None:
    found = [path for path in home.rglob("*") if not path.is_symlink()]
    assert {oct(path.stat().st_mode & 0o7777) for path in found} == {"0o644", "0o755"}


def test_parts_are_made_once_and_made_again_when_they_are_not_what_they_were(tmp_path: Path) -> None:
    target, small = HERE, {SHOP.file_name: pack(SHOP)}
    first = make_parts(small, target, cache=tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.gz")}
    assert make_parts(small, target, cache=tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in files} == files
    (packed,) = files
    packed.write_bytes(packed.read_bytes()[:-1] + b"x")
    assert make_parts(small, target, cache=tmp_path) == first
    drop_parts(target, cache=tmp_path, keep=first)
    assert packed.exists()
    drop_parts(target, cache=tmp_path, keep=())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_for_another_python_nothing_is_compiled_here(tmp_path: Path) -> None:
    newer = replace(HERE, python=(HERE.python[0], HERE.python[1] + 1), machine="aarch64")
    (part,) = make_parts({SHOP.file_name: pack(SHOP)}, newer, cache=tmp_path).values()
    unpack(assemble((part,), python="/nowhere"), tmp_path / "home")
    assert (tmp_path / "home" / site_packages(newer.python) / "shop/__init__.py").exists()
    assert not list(tmp_path.rglob("shop/__pycache__/*"))


def test_a_wheel_of_another_machine_is_refused_where_the_release_is_built(tmp_path: Path) -> None:
    name = "shop-1.4-cp311-cp311-win_amd64.whl"
    with pytest.raises(FleetError, match="pip cannot install the release"):
        make_parts({name: pack(SHOP)}, HERE, cache=tmp_path)


def test_a_package_for_the_python_of_the_host_is_taken_and_one_for_another_refused(tmp_path: Path) -> None:
    major, minor = HERE.python
    newer = replace(HERE, python=(major, minor + 1))
    metadata = "Metadata-Version: 2.1\nName: shop\nVersion: 1.4\nRequires-Python: "
    fits = replace(SHOP, metadata=f"{metadata}>={major}.{minor + 1}.2\n")
    assert make_parts({fits.file_name: pack(fits)}, newer, cache=tmp_path)
    with pytest.raises(FleetError, match=r"shop-1\.4 is for Python >="):
        make_parts({fits.file_name: pack(fits)}, HERE, cache=tmp_path)


def test_a_module_that_is_no_python_is_told_by_its_name(tmp_path: Path) -> None:
    broken = replace(SHOP, files={"shop/bad.py": b"def (:\n"})
    with pytest.raises(FleetError, match=r"shop/bad\.py"):
        make_parts({broken.file_name: pack(broken)}, HERE, cache=tmp_path)
