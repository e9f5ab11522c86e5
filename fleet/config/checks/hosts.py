"""Is the fleet itself, and is each host, named so that everything made from the names works?"""

from zoneinfo import ZoneInfo, available_timezones

from fleet.config.checks.draft import Draft
from fleet.config.problems import closest

#: a host of this name would give a per-host queue the name of its dead-letter queue
RESERVED = ("dlq",)


def check_time_zone(draft: Draft) -> None:
    """The time zone is one that this machine knows."""
    name = draft.fleet.timezone
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        close = closest(name, available_timezones())
        draft.problems.add(
            ("fleet", "timezone"),
            f"`{name}` is not an IANA time zone",
            hint=f"did you mean `{close}`?" if close else "such as Europe/Berlin",
        )


def check_names(draft: Draft) -> None:
    """No name is reserved (``dlq``), and no two differ by case only."""
    seen: dict[str, str] = {}
    for host in draft.fleet.hosts:
        path = ("hosts", host.name)
        if host.name in RESERVED:
            draft.problems.add(path, f"`{host.name}` is reserved for dead-letter queues")
        twin = seen.setdefault(host.name.lower(), host.name)
        if twin != host.name:
            draft.problems.add(path, f"differs from host `{twin}` by case only, and names of hosts have none")
