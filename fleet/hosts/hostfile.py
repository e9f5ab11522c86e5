"""Which fleet file lies on a host?

The whole fleet, for every worker exports what is declared, so that an alert does not depend on the host that
is down. What is left out is how to administer the broker and how hosts are reached; a secret is named, and is
there where it is needed. Of the further broker users only beat's is named: programs use no other there.
"""

import json
from collections.abc import Mapping
from dataclasses import replace

from fleet.config.locate import Path
from fleet.config.problems import dotted
from fleet.config.written import values
from fleet.hosts.needs import (
    BROKER_PASSWORD,
    RESULT_PASSWORD,
    SCHEDULER_PASSWORD,
    SENDGRID_KEY,
    SMTP_PASSWORD,
    host_password,
)
from fleet.hosts.paths import CA, CLIENT_CERT, CLIENT_KEY, ETC, FLEET_FILE, SMTP_CA, TEMPLATES
from fleet.model import Broker, BrokerUser, Fleet, Host, Mail, SecretRef, Tls
from fleet.model.ssh import Ssh

_HEAD = "# Written by `fleet provision hosts`; what is changed here is changed back.\n"


def host_fleet(fleet: Fleet) -> Fleet:
    """Return the fleet as its hosts know it: secrets are systemd's credentials, files lie where ours lie."""
    return replace(
        fleet,
        broker=_broker(fleet.broker),
        hosts=tuple(_host(host) for host in fleet.hosts),
        mail=_mail(fleet.mail) if fleet.mail is not None else None,
        ssh=Ssh(known_hosts=f"{ETC}/known_hosts"),
        source=FLEET_FILE,
    )


def host_file(fleet: Fleet) -> str:
    """Return the text of that fleet, the same for the same fleet."""
    tables: dict[Path, list[str]] = {}
    for path, value in values(host_fleet(fleet)):
        if path[0] == "ssh":
            continue
        tables.setdefault(path[:-1], []).append(f"{dotted(path[-1:])} = {_toml(value)}\n")
    return _HEAD + "".join(f"\n[{dotted(path)}]\n{''.join(lines)}" for path, lines in tables.items())


def _credential(name: str, reference: SecretRef | None) -> SecretRef | None:
    return None if reference is None else SecretRef(scheme="credential", name=name)


def _broker(broker: Broker) -> Broker:
    return replace(
        broker,
        password=_credential(BROKER_PASSWORD, broker.password),
        password_hash=None,
        result_password=_credential(RESULT_PASSWORD, broker.result_password),
        tls=None if broker.tls is None else _tls(broker.tls),
        management=None,
        rabbitmqctl=None,
        rabbitmqctl_host=None,
        users=() if broker.scheduler is None else (_scheduler(broker.scheduler),),
    )


def _scheduler(user: BrokerUser) -> BrokerUser:
    password = SecretRef(scheme="credential", name=SCHEDULER_PASSWORD)
    return replace(user, password=password, password_hash=None)


def _tls(tls: Tls) -> Tls:
    return Tls(ca=tls.ca and CA, cert=tls.cert and CLIENT_CERT, key=tls.key and CLIENT_KEY)


def _host(host: Host) -> Host:
    password = _credential(host_password(host.name), host.password)
    return replace(
        host,
        password=password,
        password_hash=None,
        sender_password_hash=None,
        ssh_user=None,
        ssh_port=None,
        jump=None,
    )


def _mail(mail: Mail) -> Mail:
    smtp, grid = mail.smtp, mail.sendgrid
    if smtp is not None:
        password = _credential(SMTP_PASSWORD, smtp.password)
        smtp = replace(smtp, password=password, ca=smtp.ca and SMTP_CA)
    if grid is not None:
        grid = replace(grid, api_key=SecretRef(scheme="credential", name=SENDGRID_KEY))
    return replace(mail, smtp=smtp, sendgrid=grid, templates=TEMPLATES)


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_toml(str(key))} = {_toml(item)}" for key, item in value.items())
        return f"{{{inside}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    # For texts, numbers and truth, TOML is JSON, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
