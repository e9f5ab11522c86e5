"""How is a wheel made of files that lie here already? The same bytes for the same files, and no build tool.

Pure: contents come in, an archive goes out. https://packaging.python.org/specifications/binary-distribution-format
"""

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

#: the first moment that a zip archive knows
_EPOCH = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o100644
_WHEEL = "Wheel-Version: 1.0\nGenerator: fleet\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel that fits every Python 3."""

    #: as it stands in file names: words joined by underscores
    name: str
    version: str
    #: path below site-packages → content
    files: Mapping[str, bytes]
    #: text of METADATA; the least that is needed when left empty
    metadata: str = ""
    #: text of entry_points.txt
    entry_points: str = ""

    @property
    def file_name(self) -> str:
        """Return the name of its file."""
        return f"{self.name}-{self.version}-py3-none-any.whl"


def pack(wheel: Wheel) -> bytes:
    """Return the bytes of ``wheel``; nothing is compressed, for that differs from machine to machine."""
    info = f"{wheel.name}-{wheel.version}.dist-info"
    metadata = wheel.metadata or f"Metadata-Version: 2.1\nName: {wheel.name}\nVersion: {wheel.version}\n"
    files = dict(wheel.files) | {f"{info}/METADATA": metadata.encode(), f"{info}/WHEEL": _WHEEL.encode()}
    if wheel.entry_points:
        files[f"{info}/entry_points.txt"] = wheel.entry_points.encode()
    record = "".join(f"{path},{_digest(files[path])},{len(files[path])}\n" for path in sorted(files))
    ordered = [*sorted(files.items()), (f"{info}/RECORD", f"{record}{info}/RECORD,,\n".encode())]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path, content in ordered:
            entry = zipfile.ZipInfo(path, date_time=_EPOCH)
            entry.external_attr = _FILE_MODE << 16
            entry.create_system = 3
            archive.writestr(entry, content)
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
