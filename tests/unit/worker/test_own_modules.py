import sys
from pathlib import Path

import pytest

from fleet.config.parse import parse
from fleet.errors import FleetError, UsageError
from fleet.worker.app import _import_user_tasks

TEXT = '[broker]\nurl = "amqp://mq1"\npassword = "env:P"\n[hosts.alpha]\n[tasks]\nimports = ["{module}"]\n'


@pytest.fixture(autouse=True)
def path_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_a_module_beside_the_fleet_file_is_found_after_every_installed_one(tmp_path: Path) -> None:
    (tmp_path / "beside_the_file.py").write_text("")
    source = str(tmp_path / "fleet.toml")
    _import_user_tasks(parse(TEXT.format(module="beside_the_file"), source=source))
    assert sys.path[-1] == str(tmp_path)


def test_a_module_that_is_nowhere_is_named_with_the_places_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="module `nowhere_at_all`") as caught:
        _import_user_tasks(parse(TEXT.format(module="nowhere_at_all"), source=str(tmp_path / "fleet.toml")))
    assert caught.value.hint is not None
    assert "beside the fleet file" in caught.value.hint


def test_a_module_that_fails_as_it_is_imported_is_named_with_the_line_and_is_no_fault_of_fleet(
    tmp_path: Path,
) -> None:
    (tmp_path / "shop_of_faults.py").write_text("from re import compile\n\ncompile('(')\n")
    declared = parse(TEXT.format(module="shop_of_faults"), source=str(tmp_path / "fleet.toml"))
    with pytest.raises(FleetError, match=r"module `shop_of_faults` .*: error: missing \)") as caught:
        _import_user_tasks(declared)
    assert f"{tmp_path}/shop_of_faults.py, line 3" in caught.value.message
    # What it needs may come back, such as a database that was away.
    assert caught.value.exit_code == 1
