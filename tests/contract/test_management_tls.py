"""The management door over TLS: who is trusted, and who is told the password."""

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from provisioning.broker.management import ManagementDoor
from provisioning.errors import Unreachable


class Handler(BaseHTTPRequestHandler):
    """An API with nothing in it, which notes whether anybody logged in."""

    def do_GET(self) -> None:
        self.server.logins.append(self.headers["Authorization"])  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"rabbitmq_version": "3.10.8"}')

    def log_message(self, *arguments: object) -> None:
        pass


def certificate(directory: Path) -> Path:
    """Write a key and a self-signed certificate for 127.0.0.1 into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HTTPServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))
    with HTTPServer(("127.0.0.1", 0), Handler) as made:
        made.logins = []  # type: ignore[attr-defined]
        made.socket = context.wrap_socket(made.socket, server_side=True)
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield made
        made.shutdown()
        thread.join(timeout=10)


def door(server: HTTPServer, *, ca: str | None = None, host: str = "127.0.0.1") -> ManagementDoor:
    return ManagementDoor(f"https://{host}:{server.server_port}", user="u", password="p", ca=ca)


def test_a_certificate_of_the_named_ca_is_trusted(server: HTTPServer, tmp_path: Path) -> None:
    assert door(server, ca=str(tmp_path / "server.pem")).observe().version == (3, 10, 8)


@pytest.mark.parametrize("variable", ["none", "REQUESTS_CA_BUNDLE"])
def test_an_unknown_ca_is_refused_before_the_password_is_told_whatever_the_environment_says(
    server: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "server.pem"))
    with pytest.raises(Unreachable, match=r"certificate of .* is not trusted") as caught:
        door(server).observe()
    assert "`ca`" in str(caught.value.hint)
    assert server.logins == []  # type: ignore[attr-defined]


def test_a_certificate_for_another_name_is_refused(server: HTTPServer, tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="not trusted"):
        door(server, ca=str(tmp_path / "server.pem"), host="localhost").observe()
    assert server.logins == []  # type: ignore[attr-defined]


def test_a_ca_bundle_that_is_missing_is_named(server: HTTPServer) -> None:
    with pytest.raises(Unreachable, match="/nonexistent/ca"):
        door(server, ca="/nonexistent/ca.pem").observe()
