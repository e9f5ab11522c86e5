"""How does what a drill measured come into its page?"""

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def page_with(page: str, measured: dict[str, str]) -> str:
    """Return ``page`` with ``measured`` (what → figure) as the table between its marks.

    Raises ValueError when the page has no such place.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no `{BEGIN}` … `{END}`")
    rows = [f"| {what} | {figure} |" for what, figure in measured.items()]
    return "\n".join([f"{before}{BEGIN}", "| what | measured |", "|---|---|", *rows, f"{END}{after}"])
