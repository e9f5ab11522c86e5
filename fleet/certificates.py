"""When do the certificates that the fleet file names end? Read from the files, before a broker has to say no.

A certificate is ASN.1 in DER (RFC 5280): nested values, each with a tag and a length. Only the way to its end
is walked, so no cryptography is needed.
"""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fleet.errors import UsageError
from fleet.model import Tls

#: an end that is nearer than this is said at each start
SOON_DAYS = 30
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_VERSION, _UTC_TIME = 0xA0, 0x17
#: where a certificate's validity stands behind its version: serial number, algorithm, issuer come first
_VALIDITY = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A file of certificates and its end."""

    #: ``ca`` or ``client``
    kind: str
    path: str
    #: of a CA bundle the last end, because one that is valid may be enough; of a client's chain the first
    end: datetime

    def warning(self, now: datetime) -> str | None:
        """Return what to say when it has ended by ``now`` (aware) or soon will, else None."""
        days = (self.end - now).days
        when = f"{self.end:%Y-%m-%d %H:%M} UTC"
        if days < 0:
            return f"the {self.kind} certificate `{self.path}` ended on {when}"
        if days < SOON_DAYS:
            return f"the {self.kind} certificate `{self.path}` ends on {when}, in {days} days"
        return None


def certificates(tls: Tls | None) -> tuple[Certificate, ...]:
    """Return the certificates that ``tls`` names. Raises UsageError for a file that holds none."""
    named = {"ca": tls.ca, "client": tls.cert} if tls else {}
    return tuple(_read(kind, path) for kind, path in named.items() if path is not None)


def certificate_warnings(tls: Tls | None, now: datetime) -> tuple[str, ...]:
    """Return what to say about certificates that have ended or soon will. Raises as ``certificates`` does."""
    found = (certificate.warning(now) for certificate in certificates(tls))
    return tuple(warning for warning in found if warning)


def ends(pem: bytes) -> tuple[datetime, ...]:
    """Return the end of each certificate in ``pem``, in their order. Raises ValueError for what is none."""
    return tuple(_end(base64.b64decode(body)) for body in _PEM.findall(pem))


def _read(kind: str, path: str) -> Certificate:
    try:
        found = ends(Path(path).read_bytes())
        end = max(found) if kind == "ca" else min(found)
    except OSError as error:
        raise UsageError(f"TLS file `{path}` cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(
            f"TLS file `{path}` holds no certificate (PEM)", hint=f"try `openssl x509 -in {path} -text`"
        ) from error
    return Certificate(kind=kind, path=path, end=end)


def _end(der: bytes) -> datetime:
    try:
        (certificate,) = _values(der)
        body, *_ = _values(certificate[1])
        fields = [value for tag, value in _values(body[1]) if tag != _VERSION]
        _, (tag, text) = _values(fields[_VALIDITY])
        return _time(tag, text.decode("ascii"))
    except IndexError as error:
        raise ValueError("not a certificate") from error


def _values(der: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(der):
        tag, length = der[position], der[position + 1]
        position += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(der[position : position + size])
            position += size
        yield tag, der[position : position + length]
        position += length


def _time(tag: int, text: str) -> datetime:
    if tag == _UTC_TIME:
        # Two digits: up to 49 they mean this century.
        text = ("20" if text[:2] < "50" else "19") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
