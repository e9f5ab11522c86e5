"""The wheels that are made here, and what is gathered for a host."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.errors import SecretMissing, UsageError
from fleet.hosts.material import gather
from fleet.hosts.own import own_wheel, task_wheel
from fleet.model import Fleet, Tls, UserTasks
from tests.unit.hosts.fleets import ENVIRON, office

ROOT = Path(__file__).parents[3]


def names(wheel: dict[str, bytes]) -> set[str]:
    (content,) = wheel.values()
    return set(zipfile.ZipFile(io.BytesIO(content)).namelist())


def with_tasks(directory: Path, *modules: str) -> Fleet:
    return replace(office(), source=str(directory / "fleet.toml"), user_tasks=UserTasks(imports=modules))


def test_fleets_own_wheel_has_both_packages_the_lock_and_no_tests() -> None:
    found = names(own_wheel())
    assert {"fleet/cli/main.py", "provisioning/plan.py", "fleet/hosts/constraints.txt"} <= found
    assert not [name for name in found if name.startswith("tests") or name.endswith(".pyc")]
    assert any(name.endswith(".dist-info/entry_points.txt") for name in found)
    assert own_wheel() == own_wheel()


def test_the_lock_that_travels_is_the_one_of_the_checkout() -> None:
    (content,) = own_wheel().values()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read("fleet/hosts/constraints.txt") == (ROOT / "constraints.txt").read_bytes()


def test_task_modules_beside_the_fleet_file_ride_along(tmp_path: Path) -> None:
    (tmp_path / "shop/more").mkdir(parents=True)
    for name in ("shop/__init__.py", "shop/tasks.py", "shop/more/data.json", "other.py"):
        (tmp_path / name).write_text("x")
    made = task_wheel(with_tasks(tmp_path, "shop.tasks", "shop.more", "other"), ())
    files = {name for name in names(made) if ".dist-info" not in name}
    assert files == {"shop/__init__.py", "shop/tasks.py", "shop/more/data.json", "other.py"}
    (tmp_path / "other.py").write_text("y")
    assert task_wheel(with_tasks(tmp_path, "shop.tasks", "other"), ()).keys() != made.keys()


def test_a_task_module_that_is_nowhere_is_said_and_a_wheel_of_its_name_will_do(tmp_path: Path) -> None:
    fleet = with_tasks(tmp_path, "shop.tasks")
    with pytest.raises(UsageError, match="module `shop`"):
        task_wheel(fleet, ())
    assert task_wheel(fleet, (tmp_path / "shop-1.0-py3-none-any.whl",)) == {}


def test_files_that_the_fleet_file_names_are_gathered_for_who_needs_them(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(b"authority")
    (tmp_path / "note.txt").write_bytes(b"hello")
    (tmp_path / "note.txt~").write_bytes(b"an editor's")
    fleet = office()
    assert fleet.mail is not None
    broker = replace(fleet.broker, tls=Tls(ca=str(tmp_path / "ca.pem")))
    fleet = replace(fleet, broker=broker, mail=replace(fleet.mail, templates=str(tmp_path)))
    alpha = gather(fleet, "alpha", environ=ENVIRON)
    assert dict(alpha.files) == {"/etc/fleet/ca.pem": b"authority", "/etc/fleet/mail/note.txt": b"hello"}
    assert alpha.secrets.keys() == {"broker-password", "host-password-alpha", "smtp-password"}
    assert dict(gather(fleet, "beta", environ=ENVIRON).files) == {"/etc/fleet/ca.pem": b"authority"}


def test_only_the_secrets_of_that_host_are_looked_up() -> None:
    fleet = replace(office(), broker=replace(office().broker, tls=None))
    gather(fleet, "beta", environ={"HOST_beta": "x"})
    with pytest.raises(SecretMissing, match="HOST_beta"):
        gather(fleet, "beta", environ={"HOST_alpha": "x"})


def test_a_file_that_is_not_here_is_said() -> None:
    broker = replace(office().broker, tls=Tls(ca="/nonexistent/ca.pem"))
    with pytest.raises(UsageError, match="`/nonexistent/ca"):
        gather(replace(office(), broker=broker), "beta", environ=ENVIRON)
