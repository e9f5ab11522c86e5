"""``python -m tests.hosts.newcomer``: make the hosts of a lab a fleet that a newcomer can play with.

What `make lab` ends with. Everything is done as an operator would: a fleet file, secrets in files, `fleet
provision`. The lab's directory holds it all, and takes it along when the lab ends.
"""

import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from fleet.daemons.files import write_private
from fleet.errors import FleetError
from tests.hosts.lab.broker_files import ADMIN_USER, AMQPS, MANAGEMENT_TLS
from tests.hosts.lab.claims import Record, records
from tests.hosts.lab.system import LabFailed, lab_root

ROOT = Path(__file__).parents[2]
PROVISION_SECONDS = 600
FLEET_TOML = """\
[fleet]
version = 1
name = "lab"

[broker]
nodes = [{nodes}]
user = "celery"
password = "file:{here}/celery.password"
profile = "per-host"
host_password = "file:{here}/{{host}}.password"

[broker.tls]
ca = "{here}/ca.pem"

[broker.management]
urls = [{urls}]
user = "{admin}"
password = "file:{lab}/admin.password"
ca = "{here}/ca.pem"

[broker.users.observer]                 # reads how tasks ended: `fleet task send … --wait`
role = "observer"
password = "file:{here}/observer.password"

[ssh]
user = "root"
key = "{lab}/ssh/id_ed25519"
known_hosts = "{lab}/ssh/known_hosts"

{hosts}
[queues.shop]
tasks = ["shop.*"]

[workers.shared]
queues = ["shop"]

[tasks]
imports = ["shop"]                      # shop.py, beside this file
"""
SHOP = '''\
"""Tasks of your own."""

import time

from celery import shared_task


@shared_task(name="shop.charge")
def charge(order, seconds=1):
    time.sleep(seconds)
'''
HOW_TO = """
the fleet `lab` runs on it: {hosts}

  export FLEET_FILE={file}
  PATH={path}:$PATH

  what stands there     fleet hosts list --state; fleet provision --check
  send a task           fleet task send shop.charge --json-args '{{"order": 1}}' --wait
  change a task         edit {module}, then: fleet rollout
  and go back           fleet rollback
  let a host rest       fleet drain {one}; fleet resume {one}
  new passwords         fleet rotate password --all
  who did what          fleet audit
"""


def write_files(record: Record, lab: Path) -> Path:
    """Write the fleet file, its secrets and a task module for the lab ``record``; return the file's path."""
    here = lab / "fleet"
    here.mkdir(mode=0o700, exist_ok=True)
    brokers, workers = split(record)
    for name in ("celery", "observer", *workers):
        password = here / f"{name}.password"
        if not password.exists():
            write_private(password, secrets.token_urlsafe(24) + "\n")
    (here / "ca.pem").write_bytes((lab / "test-authority.pem").read_bytes())
    (here / "shop.py").write_text(SHOP, encoding="utf-8")
    addresses = [record.hosts[name] for name in brokers]
    file = here / "fleet.toml"
    file.write_text(
        FLEET_TOML.format(
            here=here,
            lab=lab,
            admin=ADMIN_USER,
            nodes=", ".join(f'"amqps://{address}:{AMQPS}"' for address in addresses),
            urls=", ".join(f'"https://{address}:{MANAGEMENT_TLS}"' for address in addresses),
            hosts="".join(f'[hosts.{name}]\naddress = "{record.hosts[name]}"\n\n' for name in workers),
        ),
        encoding="utf-8",
    )
    return file


def split(record: Record) -> tuple[Sequence[str], Sequence[str]]:
    """Return the names of the broker hosts and of the others."""
    brokers = [name for name in record.hosts if name.startswith("mq")]
    return brokers, [name for name in record.hosts if name not in brokers]


@click.command()
@click.option("--name", default="lab", show_default=True, help="Name of the lab.")
def main(name: str) -> None:
    """Provision the lab NAME as a fleet, and say what to try."""
    record = next((each for each, is_alive in records(lab_root()) if is_alive and each.name == name), None)
    if record is None:
        raise LabFailed(f"no lab named `{name}` is running", hint="start it with `make lab`")
    brokers, workers = split(record)
    if not (brokers and workers):
        click.echo("no fleet runs on it, for that takes a broker and a worker host")
        return
    file = write_files(record, lab_root() / "labs" / name)
    argv = (sys.executable, "-m", "fleet.cli.main", "--file", str(file), "provision", "--yes")
    if subprocess.run(argv, cwd=ROOT, timeout=PROVISION_SECONDS, check=False).returncode:
        raise LabFailed("the hosts run, and could not be made a fleet; the reason is above")
    said = HOW_TO.format(
        file=file,
        path=Path(sys.executable).parent,
        module=file.with_name("shop.py"),
        hosts=", ".join(workers),
        one=workers[0],
    )
    click.echo(said.strip("\n"))


if __name__ == "__main__":
    try:
        main.main(standalone_mode=False)
    except FleetError as error:
        click.echo(f"error: {error.message}\nhint: {error.hint}", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
