"""docs/reference/exit-codes.md, from the error trees."""

from fleet import errors

MEANINGS = {
    0: "done, or nothing to do",
    1: "failed",
    2: "usage or configuration: the command or the fleet file is wrong; nothing was changed",
    3: "partly done: some hosts or changes failed",
    4: "changes pending (`provision broker --check`), or a check found problems",
    5: "no broker could be reached",
    130: "interrupted with Ctrl-C",
}


def exit_codes_page() -> str:
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.FleetError)]
    rows = []
    for code, meaning in MEANINGS.items():
        names = ", ".join(f"`{c.__name__}`" for c in classes if c.exit_code == code)
        rows.append(f"| {code} | {meaning} | {names} |\n")
    return (
        "# Exit codes\n\nEvery command ends with one of these. A refused destructive change is 1.\n\n"
        "| code | meaning | errors |\n|---|---|---|\n" + "".join(rows)
    )
