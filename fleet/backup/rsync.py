"""Which rsync command makes the copy, and what do its output and its exit code mean?"""

import re
from dataclasses import dataclass
from enum import StrEnum
from errno import EDQUOT, ENOSPC

#: rsync takes no more reference directories than this
MAX_LINK_DESTS = 20

#: messages are parsed, so their language is fixed; without HOME, rsync reads no ``~/.popt`` aliases
ENVIRON = {"LC_ALL": "C", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

#: archive, hard links, ACLs, extended attributes, and owners by number: what a restore must bring back.
#: No ``-z`` (slower on a disk), no ``-P`` (leaves cut-off files under their final names).
_ATTRIBUTES = ("-aHAX", "--numeric-ids", "--sparse", "--relative")
_OUTPUT = ("--no-human-readable", "--stats", "--outbuf=L")

_PROGRESS = re.compile(r"^\s*(\d+)\s+(\d+)%\s+\S+\s+\S+(?:\s+\(xfr#(\d+), (ir|to)-chk=(\d+)/(\d+)\))?\s*$")
_VANISHED = re.compile(r'^(?:file|directory|symlink) has vanished: "(.*)"$')
_VERSION = re.compile(r"^rsync\s+version\s+v?(\S+)")
_REGULAR = re.compile(r"\breg: (\d+)")


class Ending(StrEnum):
    """What an exit code of rsync means for the copy."""

    COMPLETE = "complete"
    #: 24: files went away while they were read
    VANISHED = "vanished"
    #: 23: some files or attributes could not be read or written
    INCOMPLETE = "incomplete"
    #: 25: more deletions than ``--max-delete`` allows
    TOO_MANY_DELETIONS = "too_many_deletions"
    #: 11: input or output failed; often the disk is full
    INPUT_OUTPUT = "input_output"
    #: a fault that may be gone next time
    PASSING = "passing"
    #: stopped by a signal, from inside (19, 20) or outside
    STOPPED = "stopped"
    #: everything else, unknown codes included: a failure that stays
    FAILED = "failed"


_ENDINGS = {
    0: Ending.COMPLETE,
    11: Ending.INPUT_OUTPUT,
    10: Ending.PASSING,
    12: Ending.PASSING,
    14: Ending.PASSING,
    22: Ending.PASSING,
    30: Ending.PASSING,
    35: Ending.PASSING,
    255: Ending.PASSING,
    19: Ending.STOPPED,
    20: Ending.STOPPED,
    23: Ending.INCOMPLETE,
    24: Ending.VANISHED,
    25: Ending.TOO_MANY_DELETIONS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One rsync call: each source appears below ``target`` under its whole path."""

    #: absolute paths; where ``/./`` stands in one, what comes after it appears below the target
    sources: tuple[str, ...]
    #: absolute directory
    target: str
    #: absolute directories whose equal files are linked instead of copied
    link_dests: tuple[str, ...] = ()
    #: file of NUL-terminated rules; None for none
    exclude_file: str | None = None
    one_file_system: bool = False
    bandwidth_limit_bytes_per_second: int | None = None
    #: delete below the target what the source has not
    delete: bool = False
    #: stop deleting after this many; None for no limit
    max_delete: int | None = None
    #: set the attributes of the directories that lead to the source, too
    implied_directories: bool = True
    #: compare contents, not sizes and times, to find what is equal already
    checksum: bool = False
    #: absolute directory that receives what would be overwritten; None overwrites
    keep_replaced_in: str | None = None
    #: count, and change nothing
    dry_run: bool = False
    #: set owners though not root
    as_super: bool = False
    #: report progress on stdout
    progress: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The counts that rsync prints at its end."""

    #: regular files found in the source
    files: int = 0
    #: size of all files found
    bytes: int = 0
    transferred_files: int = 0
    transferred_bytes: int = 0
    deleted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a copy is."""

    bytes: int
    #: 0 to 100; None while rsync says that it still looks for files
    percent: int | None
    #: files still to be looked at and files known; both 0 until rsync says
    remaining: int = 0
    known: int = 0


def argv(copy: Copy, *, program: str) -> tuple[str, ...]:
    """Return the command that performs ``copy``; everything from outside stands behind ``--``."""
    flags = [program, *_ATTRIBUTES, *_OUTPUT]
    flags.append("--info=progress2,name0,stats2" if copy.progress else "--info=name0,stats2")
    flags.extend(f"--link-dest={path}" for path in copy.link_dests[:MAX_LINK_DESTS])
    flags += ["--super"] * copy.as_super
    if copy.exclude_file is not None:
        flags += ["--from0", f"--exclude-from={copy.exclude_file}"]
    if copy.one_file_system:
        flags.append("--one-file-system")
    if copy.bandwidth_limit_bytes_per_second is not None:
        # rsync counts in KiB/s, and 0 would mean unlimited.
        flags.append(f"--bwlimit={max(1, copy.bandwidth_limit_bytes_per_second // 1024)}")
    if copy.delete:
        flags.append("--delete-delay")
    if copy.max_delete is not None:
        flags.append(f"--max-delete={copy.max_delete}")
    if not copy.implied_directories:
        flags.append("--no-implied-dirs")
    if copy.checksum:
        flags.append("--checksum")
    if copy.keep_replaced_in is not None:
        flags += ["--backup", f"--backup-dir={copy.keep_replaced_in}"]
    if copy.dry_run:
        flags.append("--dry-run")
    return (*flags, "--", *copy.sources, f"{copy.target.rstrip('/')}/")


def ending(exit_code: int) -> Ending:
    """Return what ``exit_code`` means; a negative one is the signal that ended rsync."""
    if exit_code < 0:
        return Ending.STOPPED
    return _ENDINGS.get(exit_code, Ending.FAILED)


def parse_stats(text: str) -> Stats:
    """Return the counts in rsync's ``--stats`` block; a count that is missing is 0."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, separator, value = line.partition(": ")
        if separator:
            found[name.strip()] = value
    regular = _REGULAR.search(found.get("Number of files", ""))
    return Stats(
        files=int(regular[1]) if regular else 0,
        bytes=_number(found, "Total file size"),
        transferred_files=_number(found, "Number of regular files transferred"),
        transferred_bytes=_number(found, "Total transferred file size"),
        deleted=_number(found, "Number of deleted files"),
    )


def parse_progress(line: str) -> Progress | None:
    """Return the progress that ``line`` reports, or None when it is another line."""
    match = _PROGRESS.match(line)
    if match is None:
        return None
    done, percent, _, scan, remaining, known = match.groups()
    # While rsync still looks for files (``ir-chk``), its percentage is of what it has found so far.
    return Progress(
        bytes=int(done),
        percent=None if scan == "ir" else int(percent),
        remaining=int(remaining or 0),
        known=int(known or 0),
    )


def vanished_path(line: str) -> str | None:
    """Return the path of a file that went away while it was read, or None when ``line`` says otherwise."""
    match = _VANISHED.match(line)
    return match[1] if match else None


def says_disk_is_full(line: str) -> bool:
    """Tell whether ``line`` ends in the error number of a full disk (ENOSPC) or a used-up quota (EDQUOT)."""
    return line.endswith((f"({ENOSPC})", f"({EDQUOT})"))


def is_summary(line: str) -> bool:
    """Tell whether ``line`` only repeats the exit code in words."""
    return line.startswith(("rsync error: ", "rsync warning: "))


def parse_version(text: str) -> str:
    """Return the version in the output of ``rsync --version``; empty when it is not there."""
    match = _VERSION.match(text)
    return match[1] if match else ""


def _number(found: dict[str, str], name: str) -> int:
    digits = re.match(r"\d+", found.get(name, ""))
    return int(digits[0]) if digits else 0
