"""When does each entry of the schedule run?

Pure: the fleet file and moments in, moments out. Moments are whole epoch seconds; the fleet's time zone only
decides which moments a crontab line means.
"""

from fleet.schedule.crontab import Crontab, CrontabError, parse_crontab
from fleet.schedule.occurrences import (
    Occurrence,
    destination,
    destinations,
    occurrences,
    queue_of,
    targets,
    upcoming,
)
from fleet.schedule.slots import jitter_seconds, slots_after

__all__ = [
    "Crontab",
    "CrontabError",
    "Occurrence",
    "destination",
    "destinations",
    "jitter_seconds",
    "occurrences",
    "parse_crontab",
    "queue_of",
    "slots_after",
    "targets",
    "upcoming",
]
