import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.backup.layout import host_path, path_parts, token
from fleet.errors import UsageError


@pytest.mark.parametrize("path", ["/etc/hosts", "etc/hosts", "//etc/./hosts/"])
def test_a_path_means_the_same_with_and_without_its_slashes(path: str) -> None:
    assert path_parts(path) == ("etc", "hosts")


@pytest.mark.parametrize("path", ["", "/", "."])
def test_no_name_means_the_whole_copy(path: str) -> None:
    assert path_parts(path) == ()


@pytest.mark.parametrize("path", ["..", "../etc", "/etc/../../root", "etc/..", "a\0b"])
def test_a_path_that_could_lead_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="neither"):
        path_parts(path)


@given(path=st.text(alphabet="./ab\0", max_size=12))
def test_whatever_is_accepted_stays_below_the_tree(path: str) -> None:
    try:
        parts = path_parts(path)
    except UsageError:
        return
    joined = posixpath.normpath(posixpath.join("/tree", *parts))
    assert joined == "/tree" or joined.startswith("/tree/")
    assert path_parts(host_path(parts)) == parts


def test_an_ordinary_task_id_names_its_directory() -> None:
    assert token("3f2a8c1e-0d64-4c1c-9a50-0d8f6f0f8a11") == "3f2a8c1e-0d64-4c1c-9a50-0d8f6f0f8a11"


@given(task_id=st.text(alphabet="aZ9-_./\\\0\n é", max_size=70))
def test_no_task_id_can_name_another_place(task_id: str) -> None:
    name = token(task_id)
    assert name not in ("", ".", "..")
    assert not set(name) & set("/\0\n")
    assert not name.startswith((".", "-"))
    assert len(name) <= 64


def test_two_strange_task_ids_do_not_share_a_directory() -> None:
    assert token("../a") != token("../b")
