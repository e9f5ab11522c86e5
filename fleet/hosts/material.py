"""What does the control machine have for a host? Only what is needed there, looked up at the last moment."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from fleet.errors import UsageError
from fleet.hosts.bundle import Material
from fleet.hosts.hostfile import host_file
from fleet.hosts.needs import beat_host, carries, host_credentials
from fleet.hosts.paths import CA, CLIENT_CERT, CLIENT_KEY, SMTP_CA, TEMPLATES
from fleet.mail.names import Part
from fleet.model import SEND_MAIL_TASK, Fleet
from fleet.secrets import resolve


def gather(fleet: Fleet, host: str, *, environ: Mapping[str, str], beat: bool | None = None) -> Material:
    """Return secrets and files for ``host``; ``beat`` as ``bundle`` takes it.

    Raises SecretMissing, or UsageError when a file that the fleet file names cannot be read.
    """
    runs_beat = beat_host(fleet) == host if beat is None else beat
    credentials = host_credentials(fleet, host, beat=runs_beat)
    return Material(
        secrets={name: resolve(reference, environ=environ) for name, reference in credentials.items()},
        files=dict(_files(fleet, host)),
    )


def gather_all(fleet: Fleet, hosts: Iterable[str], *, environ: Mapping[str, str]) -> dict[str, Material]:
    """Return the material for each of ``hosts``; what is the same for all is made once.

    Raises what ``gather`` does.
    """
    text = host_file(fleet).encode()
    return {host: replace(gather(fleet, host, environ=environ), fleet_file=text) for host in hosts}


def _files(fleet: Fleet, host: str) -> Iterator[tuple[str, bytes]]:
    tls = fleet.broker.tls
    named = {CA: tls.ca, CLIENT_CERT: tls.cert, CLIENT_KEY: tls.key} if tls is not None else {}
    mail = fleet.mail
    if mail is not None and any(carries(fleet, each, SEND_MAIL_TASK) for each in fleet.workers_on(host)):
        named[SMTP_CA] = mail.smtp.ca if mail.smtp is not None else None
        for path in sorted(Path(mail.templates).glob("*")):
            if path.is_file() and path.name.endswith(tuple(Part)):
                yield f"{TEMPLATES}/{path.name}", _read(str(path))
    for target, source in named.items():
        if source is not None:
            yield target, _read(source)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(
            f"`{path}`, which the fleet file names, cannot be read: {error.strerror}",
            hint="it is needed on this machine, to be put onto the hosts",
        ) from error
