"""Do the addresses of the fleet file answer, and with which certificate?"""

import socket
import ssl
from datetime import datetime
from urllib.parse import urlsplit

from fleet.certificates import certificates, ends
from fleet.connection import address
from fleet.doctor.facts import CertificateFile, Endpoint
from fleet.errors import UsageError
from fleet.model import Broker, Node, Tls

TIMEOUT_SECONDS = 5.0


def endpoints(broker: Broker) -> tuple[Endpoint, ...]:
    """Return how every AMQP address and the management API answer to a connection."""
    found = [reach(node, broker.tls) for node in broker.nodes]
    if broker.management:
        management = broker.management
        tls = Tls(ca=management.ca, cert=management.cert, key=management.key)
        found += [reach(_node(url), tls) for url in management.urls]
    return tuple(found)


def _node(url: str) -> Node:
    parts = urlsplit(url)
    uses_tls = parts.scheme == "https"
    return Node(host=parts.hostname or "", port=parts.port or (443 if uses_tls else 80), tls=uses_tls)


def reach(node: Node, tls: Tls | None) -> Endpoint:
    """Return how ``node`` answers; over TLS its certificate is verified, and its end told in any case."""
    try:
        with socket.create_connection((node.host, node.port), timeout=TIMEOUT_SECONDS) as plain:
            if not node.tls:
                return Endpoint(address=address(node))
            with _context(tls).wrap_socket(plain, server_hostname=node.host):
                pass
    except ssl.SSLCertVerificationError as error:
        reason = f"its certificate is not trusted: {error.verify_message}"
        return Endpoint(address=address(node), tls=node.tls, error=reason, certificate_end=_end(node))
    except (OSError, UnicodeError) as error:
        reason = "no answer in time" if isinstance(error, TimeoutError) else _said(error)
        return Endpoint(address=address(node), tls=node.tls, error=reason)
    return Endpoint(address=address(node), tls=True, certificate_end=_end(node))


def certificate_files(broker: Broker) -> tuple[CertificateFile, ...]:
    """Return the certificates that the fleet file names."""
    places = [place for place in (broker.tls, broker.management) if place]
    named = [tls for place in places for tls in (Tls(ca=place.ca), Tls(cert=place.cert))]
    return tuple(file for tls in dict.fromkeys(named) for file in _file(tls))


def _file(tls: Tls) -> tuple[CertificateFile, ...]:
    try:
        found = certificates(tls)
    except UsageError as error:
        return (CertificateFile(name=f"file `{tls.ca or tls.cert}`", end=None, error=error.message),)
    return tuple(
        CertificateFile(name=f"{each.kind} certificate `{each.path}`", end=each.end) for each in found
    )


def _context(tls: Tls | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca if tls else None)
    if tls and tls.cert:
        context.load_cert_chain(tls.cert, tls.key)
    return context


def _end(node: Node) -> datetime | None:
    """Return the end of the certificate that ``node`` shows, trusted or not; nothing is sent there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((node.host, node.port), timeout=TIMEOUT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=node.host) as wrapped,
        ):
            shown = wrapped.getpeercert(binary_form=True)
    except OSError:
        return None
    return min(ends(ssl.DER_cert_to_PEM_cert(shown).encode())) if shown else None


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
