"""Does the host that runs beat hold a password that opens more than the schedule needs?"""

from collections.abc import Iterator

from fleet.doctor.facts import Facts
from fleet.doctor.finding import Check, Verdict, ok, warn
from fleet.model import Profile


def _beat(facts: Facts) -> Iterator[Verdict]:
    fleet, broker = facts.fleet, facts.fleet.broker
    if not fleet.schedule:
        yield ok("there is no schedule, so no host runs it")
    elif broker.scheduler is not None:
        yield ok(f"it logs in as user {broker.scheduler.name}, who may send the schedule and nothing else")
    elif broker.profile is Profile.PER_HOST:
        yield warn(
            f"the host that runs beat holds the password of user {broker.user}, who may send to every queue"
            " and host; the other hosts have users of their own",
            'add [broker.users.beat] with role = "scheduler" and a password of its own, `fleet provision`,'
            f" then `fleet rotate password --user {broker.user}`",
        )
    else:
        yield ok(f'it logs in as user {broker.user}, as every host does: `profile = "{broker.profile}"`')


BEAT = Check(name="beat", about="has beat a user of its own?", needs=(), run=_beat)
