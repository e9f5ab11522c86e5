"""Is a password that opens every queue on one host more than need be?"""

import pytest

from fleet.doctor.finding import Level
from tests.unit.doctor.sound import FILE, found, said, sound

SCHEDULE = """
[queues.reports]
tasks = ["shop.*"]
[schedule.report]
task = "shop.report"
crontab = "0 3 * * *"
"""
SCHEDULER = """
[broker.users.clock]
role = "scheduler"
password = "env:C"
"""


def with_profile(profile: str) -> str:
    return FILE.replace('password = "env:P"\n', f'password = "env:P"\nprofile = "{profile}"\n', 1).replace(
        "[hosts.alpha]", '[hosts.alpha]\npassword = "env:ALPHA"'
    )


def test_beat_without_a_user_of_its_own_beside_hosts_that_have_some_is_a_warning() -> None:
    (finding,) = found(sound(with_profile("per-host") + SCHEDULE), "beat")
    assert finding.level is Level.WARN
    assert "the host that runs beat holds the password of user celery" in finding.message
    assert 'role = "scheduler"' in str(finding.hint)
    assert "`fleet rotate password --user celery`" in str(finding.hint)


def test_beat_with_a_user_of_its_own_is_well() -> None:
    (told,) = said(sound(with_profile("per-host") + SCHEDULE + SCHEDULER), "beat")
    assert told == "ok: it logs in as user clock, who may send the schedule and nothing else"


def test_without_a_schedule_there_is_nothing_to_suggest() -> None:
    (told,) = said(sound(with_profile("per-host")), "beat")
    assert told == "ok: there is no schedule, so no host runs it"


@pytest.mark.parametrize("profile", ["least-privilege", "open"])
def test_where_every_host_logs_in_as_the_fleets_own_user_beat_holds_no_more(profile: str) -> None:
    (told,) = said(sound(with_profile(profile).replace('\npassword = "env:ALPHA"', "") + SCHEDULE), "beat")
    assert told == f'ok: it logs in as user celery, as every host does: `profile = "{profile}"`'
