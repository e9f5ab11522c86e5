"""``python -m tests.docs write``: write the generated reference pages."""

import sys

from tests.docs.pages import PAGES, ROOT

if sys.argv[1:] != ["write"]:
    sys.exit("usage: python -m tests.docs write")
for name, page in PAGES.items():
    (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
    (ROOT / name).write_text(page(), encoding="utf-8")
    print(f"wrote {name}")
