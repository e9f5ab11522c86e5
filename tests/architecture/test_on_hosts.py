"""What a release leaves out is needed by nothing that runs on a host."""

import subprocess
import sys
from pathlib import Path

from fleet.hosts.fetched import NOT_ON_HOSTS, requirements_of
from fleet.hosts.requirements import pins
from fleet.hosts.target import target_of
from provisioning.hosts.agent.look import runtime
from tests.architecture.test_layers import MODULES, is_under

#: what packages are imported as, where that is another name
MODULE_NAMES = {"pynacl": "nacl", "markdown-it-py": "markdown_it"}
IMPORT_ALL = """\
import importlib, sys
without, names = sys.argv[1].split(","), sys.argv[2:]
sys.modules |= dict.fromkeys(without)
for name in names:
    importlib.import_module(name)
"""
REACH = """\
import sys
sys.modules |= dict.fromkeys(sys.argv[1].split(","))
sys.argv[1:] = ["--file", sys.argv[2], "hosts", "check"]
from fleet.cli.main import main
main()
"""
TABLE = """\
import sys
sys.modules |= dict.fromkeys(sys.argv[1].split(","))
from fleet.cli.context import emit_table
emit_table(("QUEUE", "TASKS"), [("[b]shop[/b]", "2")])
from rich.console import Console
from rich.progress import Progress
with Progress(console=Console(stderr=True, force_terminal=True)) as bars:
    bars.update(bars.add_task("forwarded", total=2), advance=2)
"""
FLEET_TOML = """\
[fleet]
name = "shop"
[broker]
url = "amqps://shop@mq1/shop"
password = "env:SHOP"
[hosts.alpha]
address = "alpha.example"
[queues.shop]
tasks = ["shop.*"]
[workers.shop]
queues = ["shop"]
"""


def left_out() -> str:
    target = target_of(runtime())
    left = pins(requirements_of(target)).keys() - pins(requirements_of(target, without=NOT_ON_HOSTS)).keys()
    return ",".join(MODULE_NAMES.get(name, name) for name in sorted(left))


def test_every_module_but_those_that_reach_hosts_is_imported_without_it() -> None:
    names = sorted(
        name for name in MODULES if not is_under(name, "provisioning.hosts.ssh") and "__main__" not in name
    )
    argv = (sys.executable, "-c", IMPORT_ALL, left_out(), *names)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_tables_and_bars_are_shown_without_it() -> None:
    argv = (sys.executable, "-c", TABLE, left_out())
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "QUEUE        TASKS\n[b]shop[/b]  2\n"
    assert "100%" in done.stderr
    assert done.returncode == 0


def test_who_would_reach_hosts_from_a_host_is_told_that_nothing_does(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(FLEET_TOML)
    argv = (sys.executable, "-c", REACH, left_out(), str(file))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert "this installation comes without Fabric" in done.stderr
    assert done.returncode == 2
