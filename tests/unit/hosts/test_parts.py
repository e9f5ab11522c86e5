"""What pip has put into one directory fits another one, and pieces of an archive are one."""

import csv
import io
import posixpath
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import FleetError
from fleet.hosts.packed import END, MOMENT, Member, piece
from fleet.hosts.parts import Part
from fleet.hosts.record import at_home, bound, paths_at_home, paths_in, site_packages, unbound

SITE = "lib/python3.11/site-packages"
RECORD = """\
../../bin/shop,sha256=old,3
../../share/shop/x.txt,sha256=x,1
../shop.so,sha256=so,7
shop/__init__.py,sha256=code,5
"shop/a,b.txt",sha256=b,2
shop-1.dist-info/RECORD,,
"""
NAMES = st.text("abc", min_size=1, max_size=3)
MEMBERS = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "/".join((*parts, "file"))),
    st.tuples(st.binary(max_size=2000), st.booleans()),
    max_size=6,
)


def members(found: dict[str, tuple[bytes, bool]]) -> list[Member]:
    return [Member(path=path, content=each[0], executable=each[1]) for path, each in found.items()]


def test_modules_and_what_lies_beside_them_have_their_places() -> None:
    assert site_packages((3, 11)) == SITE
    assert paths_in(RECORD)[:4] == ("bin/shop", "share/shop/x.txt", "lib/shop.so", "shop/__init__.py")
    assert paths_at_home(RECORD, site=SITE) == (
        "bin/shop",
        "share/shop/x.txt",
        "lib/shop.so",
        f"{SITE}/shop/__init__.py",
        f"{SITE}/shop/a,b.txt",
        f"{SITE}/shop-1.dist-info/RECORD",
    )


@pytest.mark.parametrize("path", ["../../../x", "/etc/x", "shop/../../../../x"])
def test_a_file_outside_is_refused(path: str) -> None:
    with pytest.raises(FleetError, match="outside the release"):
        paths_in(f"{path},,\n")


def test_a_record_says_what_lies_in_the_release() -> None:
    rows = list(csv.reader(io.StringIO(at_home(RECORD, {"bin/shop": b"#!x\n"}))))
    assert rows[0] == ["../../../bin/shop", "sha256=nLZUSxHRGAmrOrCbxVXAN9s3SERU_CyhhtAjKyVBMrQ", "4"]
    assert rows[1:5] == [
        ["../../../share/shop/x.txt", "sha256=x", "1"],
        ["../../../lib/shop.so", "sha256=so", "7"],
        ["shop/__init__.py", "sha256=code", "5"],
        ["shop/a,b.txt", "sha256=b", "2"],
    ]


@given(st.lists(st.lists(NAMES, min_size=1, max_size=4).map("/".join), unique=True), st.integers(0, 2))
def test_a_record_leads_from_the_modules_to_where_each_file_lies(paths: list[str], up: int) -> None:
    written = "".join(f"{'../' * up}{path},,\n" for path in paths)
    rows = csv.reader(io.StringIO(at_home(written, {})))
    led = [posixpath.normpath(f"{SITE}/{row[0]}") for row in rows]
    assert led == list(paths_at_home(written, site=SITE))


@given(st.binary(max_size=50), st.sampled_from(["/x/python", "/a b/python"]))
def test_a_script_of_this_python_becomes_one_of_the_release(body: bytes, python: str) -> None:
    name = python.encode()
    quoted = b'"%s"' % name if b" " in name else name
    heads = (b"#!%s\n" % name, b"#!/bin/sh\n'''exec' %s \"$0\" \"$@\"\n' '''\n" % quoted)
    for head in heads:
        found = unbound(head + body, python)
        assert found is not None
        assert python.encode() not in found.removesuffix(body)
        assert bound(found, "/opt/python") == b"#!/opt/python\n" + body
    assert unbound(b"#!/bin/sh\n" + body, python) is None


@given(MEMBERS, MEMBERS)
def test_pieces_one_after_the_other_are_an_archive(
    first: dict[str, tuple[bytes, bool]], second: dict[str, tuple[bytes, bool]]
) -> None:
    archive = piece(members(first)) + piece(members(second)) + END
    assert piece(members(first)) == piece(reversed(members(first)))
    found: dict[str, tuple[bytes, bool]] = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        for entry in opened:
            assert (entry.uid, entry.gid, entry.uname, entry.mtime) == (0, 0, "root", MOMENT)
            assert entry.mode in {0o644, 0o755}
            if entry.isfile():
                file = opened.extractfile(entry)
                assert file is not None
                found[entry.name] = (file.read(), entry.mode == 0o755)
    assert found == first | second


def test_the_tar_of_a_host_takes_pieces_for_one_archive() -> None:
    long = f"{'d' * 60}/{'f' * 120}"
    archive = piece([Member(path="a/x", content=b"x")]) + piece([Member(path=long, content=b"y")]) + END
    listed = subprocess.run(("tar", "--list", "--gzip"), input=archive, capture_output=True, check=True)
    assert listed.stdout.decode().split() == ["a/", "a/x", f"{'d' * 60}/", long]
    assert listed.stderr == b""


def test_what_a_release_adds_to_a_part_is_its_scripts_and_its_record() -> None:
    script = unbound(b"#!/x/python\nbody\n", "/x/python")
    assert script is not None
    part = Part(packed=b"", scripts={"bin/shop": script}, record=(f"{SITE}/shop-1.dist-info/RECORD", RECORD))
    record, made = part.finished("/opt/fleet/releases/1-abc/bin/python")
    assert made == Member(
        path="bin/shop", content=b"#!/opt/fleet/releases/1-abc/bin/python\nbody\n", executable=True
    )
    assert record.content.decode() == at_home(RECORD, {"bin/shop": made.content})
