"""docs/reference/exit-codes.md, from the error trees."""

from fleet import errors
from provisioning import errors as provisioning_errors
from provisioning.errors import ProvisioningError

MEANINGS = {
    0: "done, or nothing to do",
    1: "failed; a destructive change that was refused is a failure, too",
    2: "usage or configuration: the command, its environment or the fleet file is wrong; nothing was changed",
    3: "partly done: some hosts, tasks or changes failed, or a host was lost in the middle of its change",
    4: "changes pending (`provision broker --check`), or a check found problems",
    5: "no broker, or no host, could be reached",
    130: "interrupted with Ctrl-C",
}


HEAD = """\
# Exit codes

Generated from the error trees by `make docs`. Every command ends with one of these. An error is told on
stderr as `error: …`, and `hint: …` names what to try next. The last column has the exceptions behind it.

| code | meaning | exceptions |
|---|---|---|
"""


def exit_codes_page() -> str:
    names: dict[int, list[str]] = {code: [] for code in MEANINGS}
    for found in (*vars(errors).values(), *vars(provisioning_errors).values()):
        if isinstance(found, type) and issubclass(found, errors.FleetError | ProvisioningError):
            names[found.exit_code].append(f"`{found.__name__}`")
    return HEAD + "".join(f"| {code} | {MEANINGS[code]} | {', '.join(names[code])} |\n" for code in MEANINGS)
