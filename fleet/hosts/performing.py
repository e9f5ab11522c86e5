"""How do many commands run on a host in one trip, as root, one after the other, up to the first that fails?

No shell reads any of them. A program of Python's own starts them over there; what it is to do comes on its
input, and behind that the archive, which the command that takes it reads by itself.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fleet.errors import FleetError
from provisioning.hosts.runner import Runner

QUICK_SECONDS = 30.0
#: of an archive that is sent
CHUNK_BYTES = 1 << 20
_PROGRAM = """\
import fcntl, json, os, subprocess, sys

def taken(count):
    data = b""
    # Unbuffered: what comes behind is for a command.
    while len(data) < count and (more := os.read(0, count - len(data))): data += more
    return data

def tell(**what):
    # To its end, for not every connection bears a command that leaves some of its input.
    while os.read(0, 1 << 20): pass
    print(json.dumps(what))
    sys.exit()

def run(step):
    given = {"stdin": 0} if step["takes_archive"] else {"input": step["stdin"].encode()}
    # A command that outlives this program still keeps others away.
    given["pass_fds"] = held
    try:
        done = subprocess.run(step["argv"], capture_output=True, timeout=step["timeout_seconds"], **given)
    except OSError as error:
        return 127, str(error)
    except subprocess.TimeoutExpired as error:
        return 124, str(error)
    return done.returncode, (done.stderr.strip() or done.stdout.strip()).decode(errors="replace")

def end_if_there():
    if asked["unless"] and os.path.isfile(asked["unless"]): tell(end="there")

asked = json.loads(taken(int(taken(8), 16)))
held = []
end_if_there()
for step in asked["steps"]:
    if step["alone_in"]:
        held.append(os.open(step["alone_in"], os.O_RDONLY | os.O_DIRECTORY))
        fcntl.flock(held[-1], fcntl.LOCK_EX)
        # Who was waited for may have done it.
        end_if_there()
    code, said = run(step)
    if code:
        # Who is not alone yet takes back only what it has written itself.
        undo = asked["undo"] if held else step["undo"]
        if undo: run(undo)
        tell(end="failed", argv=step["argv"], code=code, said=said)
tell(end="done")
"""
_ARGV = ("python3", "-I", "-S", "-c", _PROGRAM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command on a host, as root."""

    argv: tuple[str, ...]
    #: the archive is its input
    takes_archive: bool = False
    stdin: bytes = field(default=b"", repr=False)
    timeout_seconds: float = QUICK_SECONDS
    #: a directory that nobody else works in from here on; who comes later waits
    alone_in: str | None = None
    #: what is run where it fails and nobody is kept away yet
    undo: "Step | None" = None


def perform(
    runner: Runner,
    steps: Iterable[Step],
    *,
    archive: Path | None = None,
    unless: str | None = None,
    undo: Step | None = None,
) -> bool:
    """Run ``steps`` one after the other, and return whether they ran: not where the file ``unless`` is there.

    Where one fails of those that are alone in a directory, ``undo`` is run; where another fails, its own.
    Raises FleetError with the host's own words at the first that fails, and what ``runner`` raises.
    """
    wanted = tuple(steps)
    if not wanted:
        return True
    asked = {
        "unless": unless,
        "steps": [_asked(step) for step in wanted],
        "undo": _asked(undo),
    }
    seconds = sum(step.timeout_seconds for step in wanted) + QUICK_SECONDS
    ran = runner.run(_ARGV, stdin=_sent(asked, archive), as_root=True, timeout_seconds=seconds)
    try:
        said = json.loads(ran.stdout)
    except ValueError:
        words = ran.stderr.decode(errors="replace").strip()[-500:]
        raise FleetError(
            f"{runner.name}: `python3` ended with {ran.exit_code}: {words or 'no word'}"
        ) from None
    if said["end"] == "failed":
        raise _failed(runner, " ".join(said["argv"]), said["code"], said["said"])
    return bool(said["end"] == "done")


def _failed(runner: Runner, command: str, code: int, said: str) -> FleetError:
    words = said.strip()[-500:] or "no word"
    return FleetError(f"{runner.name}: `{command[:120]}` ended with {code}: {words}")


def _asked(step: Step | None) -> dict[str, object] | None:
    if step is None:
        return None
    return {
        "argv": step.argv,
        "stdin": step.stdin.decode(),
        "takes_archive": step.takes_archive,
        "timeout_seconds": step.timeout_seconds,
        "alone_in": step.alone_in,
        "undo": _asked(step.undo),
    }


def _sent(asked: object, archive: Path | None) -> Iterator[bytes]:
    text = json.dumps(asked).encode()
    yield b"%08x%b" % (len(text), text)
    if archive is not None:
        with archive.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
