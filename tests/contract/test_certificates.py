"""Is the end of a certificate read as the library says that wrote it?"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from fleet.certificates import Certificate, certificate_warnings, certificates, ends
from fleet.errors import UsageError
from fleet.model import Tls
from tests.certificates import Authority

NOW = datetime(2030, 6, 1, tzinfo=UTC)
CERTIFICATE = Certificate(kind="client", path="/etc/fleet/client.crt", end=NOW + timedelta(days=400))


@pytest.mark.parametrize("days", [-3, 1, 400, 8_000, 20_000], ids=lambda days: f"{days} days")
def test_the_end_of_a_certificate_is_read_from_either_notation_of_time(tmp_path: Path, days: int) -> None:
    pem = Authority.create(tmp_path).issue("alpha", days=days).cert.read_bytes()
    assert ends(pem) == (x509.load_pem_x509_certificate(pem).not_valid_after_utc,)


def test_of_a_bundle_the_last_end_counts_and_of_a_clients_chain_the_first(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    short, long = (authority.issue("alpha", days=days).cert.read_bytes() for days in (5, 90))
    both = tmp_path / "both.pem"
    both.write_bytes(b"of last year\n" + long + b"\n" + short)
    ca, client = certificates(Tls(ca=str(both), cert=str(both), key="unread"))
    assert (ca.kind, client.kind) == ("ca", "client")
    assert (ca.end - client.end).days == 85


def test_a_certificate_that_ends_soon_or_has_ended_is_said_with_its_file_and_day() -> None:
    assert CERTIFICATE.warning(NOW) is None
    soon = replace(CERTIFICATE, end=NOW + timedelta(days=12))
    expected = "the client certificate `/etc/fleet/client.crt` ends on 2030-06-13 00:00 UTC, in 12 days"
    assert soon.warning(NOW) == expected
    over = replace(CERTIFICATE, end=NOW - timedelta(hours=1))
    assert over.warning(NOW) == "the client certificate `/etc/fleet/client.crt` ended on 2030-05-31 23:00 UTC"


def test_without_tls_files_there_is_nothing_to_say() -> None:
    assert certificate_warnings(None, NOW) == certificate_warnings(Tls(), NOW) == ()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"nothing",
        b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nMIIBAQ==\n-----END CERTIFICATE-----\n",
    ],
)
def test_a_file_that_holds_no_certificate_is_one_error_that_names_it(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "client.crt"
    file.write_bytes(text)
    with pytest.raises(UsageError, match=r"client\.crt` holds no certificate"):
        certificates(Tls(cert=str(file)))
