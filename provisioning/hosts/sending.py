"""What goes to a host in one stream: the agent, a request, and the contents of files?

The argv names no secret and no path, for everybody on the host can read it.
"""

import json
import marshal
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.util import MAGIC_NUMBER, find_spec
from pathlib import Path
from typing import Any

AGENT = "provisioning.hosts.agent"
#: what looks, in the order in which it is loaded: each imports only what stands before it
LOOKING = ("places", "keeping", "stamps", "systemd", "look", "program")
#: all of it, in the same way; the last module is the one that is called
MODULES = (*LOOKING[:-1], "files", "trees", "users", "change", LOOKING[-1])
#: for verbs that change nothing
_LOOKING_VERBS = frozenset({"observe", "audit"})
# A host with our own Python need not compile what it runs once, which takes as long as to look.
_LOADER = """\
import marshal, sys, types, zlib
from _frozen_importlib_external import MAGIC_NUMBER
if sys.version_info < (3, 11): sys.exit("Python is %d.%d, and must be 3.11 or newer" % sys.version_info[:2])
stdin = sys.stdin.buffer
magic, *sizes = stdin.readline().split()
compiled, text = [stdin.read(int(size)) for size in sizes]
for name, code in marshal.loads(zlib.decompress(compiled if MAGIC_NUMBER.hex() == magic.decode() else text)):
    module = sys.modules[name] = types.ModuleType(name)
    exec(code if isinstance(code, types.CodeType) else compile(code, name, "exec"), module.__dict__)
module.main(stdin, sys.stdout.buffer)
"""
ARGV = ("python3", "-I", "-S", "-c", _LOADER)
CHUNK = 1 << 20
#: of `marshal`
_FORM_OF_EVERY_PYTHON = 2


def stream(request: Mapping[str, Any], contents: Iterable[tuple[int, bytes | Path]] = ()) -> Iterator[bytes]:
    """Yield what the agent reads: itself, the request, and contents by the index of their change."""
    asked = json.dumps(request).encode()
    yield _program(LOOKING if request["verb"] in _LOOKING_VERBS else MODULES)
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
def _program(modules: tuple[str, ...]) -> bytes:
    """Return the agent as the loader reads it: compiled by our Python, and as text for any other."""
    loaders = {name: _loader(name) for name in (AGENT, *(f"{AGENT}.{name}" for name in modules))}
    # Python has compiled them where it keeps what it compiles.
    codes = [(name, loader.get_code(name)) for name, loader in loaders.items()]
    texts = [(name, loader.get_source(name)) for name, loader in loaders.items()]
    compiled = zlib.compress(marshal.dumps(codes))
    text = zlib.compress(marshal.dumps(texts, _FORM_OF_EVERY_PYTHON))
    return b"%b %d %d\n%b%b" % (MAGIC_NUMBER.hex().encode(), len(compiled), len(text), compiled, text)


def _loader(name: str) -> Any:
    """Return what has the code and the text of a module of ours."""
    spec = find_spec(name)
    assert spec is not None
    return spec.loader
