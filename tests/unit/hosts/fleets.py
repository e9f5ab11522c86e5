"""Fleets for tests of what hosts get."""

from fleet.config.parse import parse
from fleet.hosts.bundle import Material
from fleet.hosts.needs import beat_host, host_credentials
from fleet.model import Fleet
from fleet.secrets import Secret, resolve

TEXT = """\
[fleet]
name = "office"
timezone = "Europe/Berlin"

[broker]
nodes = ["amqps://mq1:5671", "amqps://mq2:5671"]
password = "env:MAIN"
profile = "per-host"
host_password = "env:HOST_{host}"
[broker.tls]
ca = "/home/ops/ca.pem"
[broker.management]
url = "https://mq1:15671"
user = "admin"
password = "env:ADMIN"
[broker.users.shop]
role = "publisher"
password = "env:SHOP"

[hosts.alpha]
address = "10.0.0.11"
[hosts.beta]
labels = ["db"]

[workers.backup]
queues = ["backup"]
stop_timeout = "2h"
[workers.mail]
hosts = ["alpha"]
queues = ["email", "default"]
stop_timeout = "20s"
[workers.plain]
hosts = ["beta"]
queues = ["default"]

[backups.home]
hosts = ["alpha"]
sources = ["/etc", "/home/ann files"]
destination = "/mnt/copies"
restore_dir = "/srv/back"
[backups.db]
hosts = ["@db"]
sources = ["/var/lib/postgresql"]
destination = "/srv/copies"

[mail]
from = "fleet@example.org"
templates = "mail"
[mail.smtp]
host = "smtp.example.org"
user = "office"
password = "env:SMTP"

[schedule.home]
backup = "home"
crontab = "30 7 * * mon"
[schedule.probe]
task = "fleet.check_urls"
every = "5m"
kwargs = {names = ["a \\"b\\""], deep = {x = 1.5, y = true}}
"""
ENVIRON = {
    "MAIN": "main-secret",
    "HOST_alpha": "alpha-secret",
    "HOST_beta": "beta-secret",
    "SMTP": "smtp-secret",
    "ADMIN": "admin-secret",
    "SHOP": "shop-secret",
    "CLOCK": "clock-secret",
}
#: as whom beat logs in, where a fleet has it
CLOCK = """\
[broker.users.clock]
role = "scheduler"
password = "env:CLOCK"
"""
RELEASE = "1.2.3-0123456789ab"


def office() -> Fleet:
    return parse(TEXT, source="/home/ops/fleet.toml")


def office_with_clock() -> Fleet:
    """Return the office, whose beat has a user of its own."""
    return parse(TEXT + CLOCK, source="/home/ops/fleet.toml")


def material(fleet: Fleet, host: str, *, environ: dict[str, str] | None = None) -> Material:
    """Return what the control machine would have, without its files."""
    beat = beat_host(fleet) == host
    values = ENVIRON if environ is None else environ
    secrets: dict[str, Secret] = {
        name: resolve(reference, environ=values)
        for name, reference in host_credentials(fleet, host, beat=beat).items()
    }
    return Material(secrets=secrets, files={"/etc/fleet/ca.pem": b"the authority\n"})
