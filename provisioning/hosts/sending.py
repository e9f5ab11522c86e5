"""What goes to a host in one stream: the agent, a request, and the contents of files?

The argv names no secret and no path, for everybody on the host can read it.
"""

import json
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

AGENT = "provisioning.hosts.agent"
#: in the order in which they are loaded: each imports only what stands before it
MODULES = ("places", "keeping", "systemd", "files", "trees", "look", "users", "change", "program")
_LOADER = """\
import json, sys, types, zlib
if sys.version_info < (3, 11): sys.exit("Python is %d.%d, and must be 3.11 or newer" % sys.version_info[:2])
stdin = sys.stdin.buffer
for name, source in json.loads(zlib.decompress(stdin.read(int(stdin.readline())))):
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
module.main(stdin, sys.stdout.buffer)
"""
ARGV = ("python3", "-I", "-S", "-c", _LOADER)
CHUNK = 1 << 20


def stream(request: Mapping[str, Any], contents: Iterable[tuple[int, bytes | Path]] = ()) -> Iterator[bytes]:
    """Yield what the agent reads: itself, the request, and contents by the index of their change."""
    program, asked = _program(), json.dumps(request).encode()
    yield b"%d\n%b" % (len(program), program)
    yield b"%d\n%b" % (len(asked), asked)
    for index, content in contents:
        yield from _member(index, content)
    # Two blocks of zeros end a tar stream.
    yield b"\0" * tarfile.BLOCKSIZE * 2


def _member(index: int, content: bytes | Path) -> Iterator[bytes]:
    info = tarfile.TarInfo(str(index))
    info.size = len(content) if isinstance(content, bytes) else content.stat().st_size
    yield info.tobuf()
    if isinstance(content, bytes):
        yield content
    else:
        with content.open("rb") as file:
            # What grows while it is read would shift everything behind it.
            yield from _at_most(file.read, info.size)
    yield b"\0" * (-info.size % tarfile.BLOCKSIZE)


def _at_most(read: Any, size: int) -> Iterator[bytes]:
    left = size
    while left and (chunk := read(min(CHUNK, left))):
        left -= len(chunk)
        yield chunk
    # One that shrank arrives whole in length and is refused for its digest.
    yield b"\0" * left


@cache
def _program() -> bytes:
    package = resources.files(AGENT)
    sources = [[AGENT, ""]]
    sources += [
        [f"{AGENT}.{name}", package.joinpath(f"{name}.py").read_text(encoding="utf-8")] for name in MODULES
    ]
    return zlib.compress(json.dumps(sources).encode())
