import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fleet.cli.main import fleet as command
from fleet.config.starter import STARTER
from fleet.errors import ConfigError, FleetError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet.toml"


def run(path: Path, *arguments: str) -> str:
    result = CliRunner().invoke(
        command, ["--file", str(path), *arguments], catch_exceptions=False, standalone_mode=False
    )
    if result.exception:
        raise result.exception
    return result.stdout


def test_the_starter_passes_the_check(path: Path) -> None:
    run(path, "init")
    assert json.loads(run(path, "config", "check", "--json")) == {"ok": True, "problems": []}


def test_every_commented_line_of_the_starter_is_right_too(path: Path) -> None:
    start = STARTER.index("[broker]")
    body = "".join(
        line.removeprefix("# ")
        for line in STARTER[start:].splitlines(keepends=True)
        if not line.startswith(("# ---", "# Only", "# Wherever", "# Every", "# workers", "#\n"))
    )
    path.write_text(STARTER[: STARTER.index("# --- The broker")] + body)
    assert json.loads(run(path, "config", "check", "--json"))["ok"]


def test_init_never_replaces_a_file_unasked(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(FleetError, match="is there already"):
        run(path, "init")
    assert path.read_text() == "mine"
    run(path, "init", "--force")
    assert path.read_text() == STARTER


def test_init_writes_where_it_is_told(path: Path, tmp_path: Path) -> None:
    run(path, "init", str(tmp_path / "other.toml"))
    assert (tmp_path / "other.toml").read_text() == STARTER
    assert not path.exists()


def test_show_tells_the_line_of_each_value_and_keeps_secrets_as_references(path: Path) -> None:
    path.write_text('[broker]\nurl = "amqp://mq1"\npassword = "env:P"\n[hosts.alpha]\n')
    shown = {item["key"]: item for item in json.loads(run(path, "config", "show", "--json"))}
    assert shown["broker.password"]["value"] == "env:P"
    assert shown["broker.nodes"]["origin"] == f"{path}:2"
    assert shown["broker.vhost"]["origin"] == "default"


def test_the_schema_describes_every_table(path: Path) -> None:
    schema = json.loads(run(path, "config", "schema"))
    assert set(schema["properties"]) >= {"fleet", "broker", "hosts", "queues", "workers", "backups", "mail"}


def test_a_missing_file_is_named_with_the_way_out(path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        run(path, "config", "check")
    assert caught.value.hint is not None
    assert "fleet init" in caught.value.hint
