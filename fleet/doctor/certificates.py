"""When do the certificates end, the broker's own and those of the fleet file?"""

from collections.abc import Iterator
from datetime import datetime

from fleet.doctor.facts import Facts
from fleet.doctor.finding import Check, Verdict, fail, ok, unknown, warn

#: an end that is nearer than this is said
SOON_DAYS = 30


def _certificates(facts: Facts) -> Iterator[Verdict]:
    ends = [
        (f"certificate of `{e.address}`", e.certificate_end) for e in facts.endpoints if e.certificate_end
    ]
    ends += [(file.name, file.end) for file in facts.certificate_files if file.end]
    for file in facts.certificate_files:
        if file.error:
            yield fail(
                f"{file.name}: {file.error}", "see [broker.tls] and [broker.management] in the fleet file"
            )
    sound = True
    for name, end in ends:
        verdict = _verdict(name, end, facts.now)
        if verdict is not None:
            sound = False
            yield verdict
    hidden = [e.address for e in facts.endpoints if e.tls and e.certificate_end is None]
    if hidden:
        yield unknown(
            f"no certificate was seen of {', '.join(f'`{address}`' for address in hidden)}",
            "see `addresses` for why it does not answer",
        )
    if sound and ends:
        yield ok(f"the first of {len(ends)} ends on {min(end for _, end in ends):%Y-%m-%d}")
    elif not ends and not hidden and not facts.certificate_files:
        yield ok("no TLS in use")


def _verdict(name: str, end: datetime, now: datetime) -> Verdict | None:
    days = (end - now).days
    if days < 0:
        return fail(f"the {name} ended on {end:%Y-%m-%d %H:%M} UTC", "renew it")
    if days < SOON_DAYS:
        return warn(f"the {name} ends on {end:%Y-%m-%d %H:%M} UTC, in {days} days", "renew it")
    return None


CERTIFICATES = Check(name="certificates", about="does a certificate end soon?", needs=(), run=_certificates)
