"""From the command line through a provisioned broker and real workers, and back: with the least rights."""

import json
from pathlib import Path

import pytest

from fleet import Client
from fleet.daemons.files import write_private
from fleet.daemons.smtp import SmtpSink
from fleet.errors import BrokerRefused
from fleet.fleetfile import read
from tests.broker import hosts_and_workers
from tests.servers import Provisioned, RunFleet, StartWorker

BODY = """
[broker.users.mailer]
role = "publisher"
password = "file:{directory}/mailer.password"
queues = ["email"]

{hosts}

[backups.docs]
hosts = ["*"]
sources = ["{directory}/docs"]
destination = "{directory}/backups"

[backups.broken]
hosts = ["*"]
sources = ["{directory}/missing"]
destination = "{directory}/backups"

[mail]
from = "fleet@example.org"
templates = "{directory}/templates"
[mail.smtp]
host = "127.0.0.1"
port = {port}
security = "none"
"""


@pytest.fixture
def fleet_file(provisioned: Provisioned, smtp: SmtpSink, tmp_path: Path) -> Path:
    """A provisioned fleet of one host whose further user ``mailer`` may only enqueue mail."""
    write_private(tmp_path / "mailer.password", "mail-only\n")
    (tmp_path / "backups").mkdir(mode=0o700)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "readme.txt").write_text("read me")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "welcome.subject.txt").write_text("Welcome")
    (tmp_path / "templates" / "welcome.txt").write_text("Hello {{ name }}")
    user = f"mailer-{provisioned.vhost.name}"
    body = BODY.format(directory=tmp_path, hosts=hosts_and_workers(), port=smtp.port)
    return provisioned(body.replace("users.mailer", f"users.{user}"))


def mailer(fleet_file: Path) -> str:
    return next(user.name for user in read(str(fleet_file)).broker.users if user.role == "publisher")


def test_mail_and_backup_are_sent_waited_for_and_done(
    fleet_file: Path, start_worker: StartWorker, run_fleet: RunFleet, smtp: SmtpSink, tmp_path: Path
) -> None:
    start_worker(fleet_file)
    context = json.dumps({"name": "Ann"})
    mail = run_fleet(
        *("mail", "send", "--to", "ann@example.org", "--template", "welcome", "--context", context),
        *("--user", mailer(fleet_file), "--wait", "--timeout", "30s", "--json"),
        file=fleet_file,
    )
    assert mail.returncode == 0, mail.stderr
    assert json.loads(mail.stdout)[0]["outcome"]["outcome"] == "succeeded"
    assert [message.recipients for message in smtp.messages()] == [("ann@example.org",)]

    backup = run_fleet("backup", "run", "docs", "--wait", "--timeout", "30s", file=fleet_file)
    assert backup.returncode == 0, backup.stderr
    assert "fleet.backup on alpha: succeeded in" in backup.stderr
    assert list((tmp_path / "backups").rglob("readme.txt"))

    broken = run_fleet("backup", "run", "broken", "--wait", "--timeout", "30s", file=fleet_file)
    assert broken.returncode == 1, broken.stderr
    assert "1 of 1 tasks did not succeed: fleet.backup on alpha: failed" in broken.stderr


def test_a_user_of_one_queue_can_delay_a_mail_and_cannot_start_a_backup(fleet_file: Path) -> None:
    with Client(fleet_file, {}, user=mailer(fleet_file)) as client:
        client.mail("ann@example.org", "welcome", {"name": "Ann"})
        client.send(
            "fleet.send_mail",
            {"to": "ann@example.org", "template": "welcome", "context": {"name": "Ann"}},
            delay_seconds=1,
        )
        with pytest.raises(BrokerRefused, match=r"access to topic 'fleet\.backup\.alpha'"):
            client.backup("docs")


def test_who_may_not_read_the_journal_is_told_how_to(fleet_file: Path, run_fleet: RunFleet) -> None:
    text = fleet_file.read_text()
    fleet_file.write_text(text.replace('role = "observer"', 'role = "operator"'))
    done = run_fleet("backup", "run", "docs", "--wait", file=fleet_file)
    assert done.returncode == 1
    assert "access to queue 'fleet.journal'" in done.stderr
    assert "role `observer`" in done.stderr
