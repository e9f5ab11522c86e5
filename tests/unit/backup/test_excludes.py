import pytest

from fleet.backup.excludes import NEVER_IN_ROOT, exclude_file, is_excluded, is_inside, patterns_for


def test_the_operators_patterns_come_first_and_unchanged() -> None:
    patterns = patterns_for("/home", sources=("/home",), excludes=("*.o", "/home/*/tmp"), destination="/srv")
    assert patterns == ("*.o", "/home/*/tmp")


def test_a_source_below_another_one_is_copied_once_and_by_itself() -> None:
    assert patterns_for("/var", sources=("/var", "/var/lib"), excludes=(), destination="/srv") == (
        "/var/lib",
    )
    assert patterns_for("/var/lib", sources=("/var", "/var/lib"), excludes=(), destination="/srv") == ()


def test_a_destination_inside_its_source_never_copies_itself() -> None:
    assert "/home/mic/disk" in patterns_for(
        "/home", sources=("/home",), excludes=(), destination="/home/mic/disk"
    )


def test_wildcards_in_a_path_that_is_meant_literally_are_escaped() -> None:
    patterns = patterns_for("/a", sources=("/a", "/a/b[1]*?\\"), excludes=(), destination="/srv")
    assert patterns == ("/a/b\\[1]\\*\\?\\\\",)


def test_a_copy_of_the_whole_host_leaves_out_what_is_no_file() -> None:
    assert set(NEVER_IN_ROOT) <= set(patterns_for("/", sources=("/",), excludes=(), destination="/srv"))


def test_a_pattern_that_looks_like_a_comment_or_a_rule_is_still_a_pattern() -> None:
    assert exclude_file(("# x", "+ y", "a\nb")) == "- # x\0- + y\0- a\nb\0"


@pytest.mark.parametrize(
    ("path", "directory", "inside"),
    [
        ("/etc", "/etc", True),
        ("/etc/x/", "/etc", True),
        ("/etcetera", "/etc", False),
        ("/etc/../root", "/etc", False),
        ("/any", "/", True),
    ],
)
def test_inside_is_decided_by_whole_names(path: str, directory: str, *, inside: bool) -> None:
    assert is_inside(path, directory) is inside


@pytest.mark.parametrize(
    ("pattern", "excluded"),
    [
        ("/home/mic/disk", True),
        ("/home/mic/", True),
        ("/home/mic/disk/*", True),
        ("/home/mic/disk/***", True),
        ("/home/*/disk", False),
        ("disk", False),
        ("/home/mic/disk2", False),
        ("/", False),
        ("/*", False),
    ],
)
def test_only_an_exclude_that_names_the_destination_permits_it_inside_a_source(
    pattern: str, *, excluded: bool
) -> None:
    assert is_excluded("/home/mic/disk", (pattern,)) is excluded
