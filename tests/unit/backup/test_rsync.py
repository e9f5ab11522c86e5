import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.backup.rsync import (
    MAX_LINK_DESTS,
    Copy,
    Ending,
    Progress,
    Stats,
    argv,
    ending,
    is_summary,
    parse_progress,
    parse_stats,
    parse_version,
    vanished_path,
)

PATHS = st.text(alphabet="-/ a=é", min_size=1, max_size=8)

STATS = """
Number of files: 1504 (reg: 1500, dir: 3, link: 1)
Number of created files: 2 (reg: 2)
Number of deleted files: 7 (reg: 6, dir: 1)
Number of regular files transferred: 2
Total file size: 6393 bytes
Total transferred file size: 41 bytes
Literal data: 41 bytes
Matched data: 0 bytes
File list generation time: 0.001 seconds
Total bytes sent: 93586

sent 93586 bytes  received 28536 bytes  244244.00 bytes/sec
"""


def test_a_plain_copy_keeps_every_attribute_and_neither_compresses_nor_leaves_cut_off_files() -> None:
    assert argv(Copy(sources=("/etc",), target="/srv/x/tree"), program="/usr/bin/rsync") == (
        "/usr/bin/rsync",
        "-aHAX",
        "--numeric-ids",
        "--sparse",
        "--relative",
        "--no-human-readable",
        "--stats",
        "--outbuf=L",
        "--info=name0,stats2",
        "--",
        "/etc",
        "/srv/x/tree/",
    )


def test_every_wish_becomes_its_flag() -> None:
    copy = Copy(
        sources=("/etc", "/opt"),
        target="/t",
        link_dests=("/a", "/b"),
        exclude_file="/x",
        one_file_system=True,
        bandwidth_limit_bytes_per_second=2_000_000,
        delete=True,
        max_delete=5,
        implied_directories=False,
        checksum=True,
        keep_replaced_in="/kept",
        dry_run=True,
        progress=True,
    )
    assert argv(copy, program="rsync")[8:] == (
        "--info=progress2,name0,stats2",
        "--link-dest=/a",
        "--link-dest=/b",
        "--from0",
        "--exclude-from=/x",
        "--one-file-system",
        "--bwlimit=1953",
        "--delete-delay",
        "--max-delete=5",
        "--no-implied-dirs",
        "--checksum",
        "--backup",
        "--backup-dir=/kept",
        "--dry-run",
        "--",
        "/etc",
        "/opt",
        "/t/",
    )


def test_a_tiny_bandwidth_limit_does_not_become_unlimited() -> None:
    assert "--bwlimit=1" in argv(
        Copy(sources=("/etc",), target="/t", bandwidth_limit_bytes_per_second=10), program="rsync"
    )


def test_no_more_reference_directories_than_rsync_takes_are_named() -> None:
    copy = Copy(sources=("/etc",), target="/t", link_dests=tuple(f"/{number}" for number in range(50)))
    flags = [flag for flag in argv(copy, program="rsync") if flag.startswith("--link-dest")]
    assert len(flags) == MAX_LINK_DESTS


@given(sources=st.lists(PATHS, min_size=1, max_size=3).map(tuple), target=PATHS)
def test_no_path_can_become_an_option(sources: tuple[str, ...], target: str) -> None:
    command = argv(Copy(sources=sources, target=target), program="rsync")
    assert command[command.index("--") + 1 : -1] == sources


@pytest.mark.parametrize(
    ("exit_code", "meaning"),
    [
        (0, Ending.COMPLETE),
        (24, Ending.VANISHED),
        (23, Ending.INCOMPLETE),
        (25, Ending.TOO_MANY_DELETIONS),
        (11, Ending.INPUT_OUTPUT),
        (12, Ending.PASSING),
        (30, Ending.PASSING),
        (20, Ending.STOPPED),
        (-9, Ending.STOPPED),
        (1, Ending.FAILED),
        (77, Ending.FAILED),
    ],
)
def test_an_exit_code_has_one_meaning_and_an_unknown_one_is_a_failure(
    exit_code: int, meaning: Ending
) -> None:
    assert ending(exit_code) is meaning


def test_the_counts_are_read_from_the_statistics() -> None:
    assert parse_stats(STATS) == Stats(
        files=1500, bytes=6393, transferred_files=2, transferred_bytes=41, deleted=7
    )


def test_a_source_of_directories_alone_has_no_files() -> None:
    assert parse_stats("Number of files: 3 (dir: 3)\nTotal file size: 0 bytes").files == 0


def test_a_percentage_counts_only_when_rsync_has_seen_every_file() -> None:
    known = parse_progress("     68161829 100%  636.99MB/s    0:00:00 (xfr#502, to-chk=3/504)")
    looking = parse_progress("        100  50%    1.00kB/s    0:00:00 (xfr#2, ir-chk=3/50)")
    assert known == Progress(bytes=68161829, percent=100, remaining=3, known=504)
    assert looking == Progress(bytes=100, percent=None, remaining=3, known=50)
    assert parse_progress("         32768   2%    1.00kB/s    0:00:00") == Progress(bytes=32768, percent=2)


@given(text=st.text(alphabet="0123 %:(),=#-/\nabxfrtochk", max_size=60))
def test_no_output_can_break_the_parsers(text: str) -> None:
    parse_stats(text)
    parse_progress(text)
    vanished_path(text)
    parse_version(text)


def test_a_file_that_went_away_is_told_from_other_messages() -> None:
    assert vanished_path('file has vanished: "/etc/a b"') == "/etc/a b"
    assert vanished_path('rsync: [sender] send_files failed to open "/etc/shadow"') is None


def test_the_line_that_repeats_the_exit_code_is_not_a_problem_of_its_own() -> None:
    assert is_summary("rsync error: some files/attrs were not transferred (code 23) at main.c(1394)")
    assert not is_summary('rsync: [sender] send_files failed to open "/x": Permission denied (13)')


def test_the_version_is_read_from_the_first_line() -> None:
    assert parse_version("rsync  version 3.5.0  protocol version 32\nmore") == "3.5.0"
    assert parse_version("rsync  version v3.2.7  protocol version 31") == "3.2.7"
