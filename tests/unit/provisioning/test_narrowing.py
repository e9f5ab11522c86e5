"""Whether an expression may allow less than before: never told wrong, and seldom too careful."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioning.broker.narrowing import may_narrow
from provisioning.broker.permissions import exactly

PIDBOX = "[^@]+@({hosts})[.]celery[.]pidbox"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "^a$"),
        ("^$", ""),
        ("^a$", ".*"),
        ("^a$", "^(a|b)$"),
        (exactly("fleet.email"), exactly("fleet.email", "fleet.backup")),
        (f"^(a|{PIDBOX.format(hosts='h1')})$", f"^(b|a|{PIDBOX.format(hosts='h2|h1')})$"),
        ("^(([01][.]){28}a)$", "^(([01][.]){28}a|([01][.]){28}b)$"),
        ("^([01][.]){28}a$", "^([01][.]){28}(a|b)$"),
        ("(?i)whatever", "(?i)whatever"),
    ],
)
def test_what_only_grows_is_not_narrower(before: str, after: str) -> None:
    assert not may_narrow(before, after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (".*", "^a$"),
        ("^(a|b)$", "^a$"),
        ("^a$", "^$"),
        ("a", "^a$"),
        # Without parentheses a bar parts the anchors, too.
        ("^a|b$", "^(a|b)$"),
        ("^(a|b)+$", "^(a|b)$"),
        ("^(a|b){3}c$", "^(a|b){2}(c|d)$"),
        ("^([01][.]){28}(a|b)$", "^([01][.]){28}a$"),
        ("^(a)(?!b)$", "^a$"),
        ("^(*F)|a$", "^a$"),
        ("^a\\$", "^(a|b)$"),
        (f"^{PIDBOX.format(hosts='h1|h2')}$", f"^{PIDBOX.format(hosts='h1')}$"),
        ("^(((", "^(a)$"),
        ("^[a", "^(a)$"),
    ],
)
def test_what_shrinks_or_cannot_be_read_may_be_narrower(before: str, after: str) -> None:
    assert may_narrow(before, after)


PIECES = st.recursive(
    st.sampled_from(["a", "b", "[.]", "[^a]", "a+", "b?", "", ".", "\\.", "$", "^", "a*", "(?:a)", "{2}"]),
    lambda inner: st.lists(inner, min_size=1, max_size=3).flatmap(
        lambda parts: st.sampled_from(["".join(parts), f"({'|'.join(parts)})", "|".join(parts)])
    ),
    max_leaves=6,
)


# Four times the usual: what narrows wrongly is rare among what is drawn.
@settings(max_examples=4 * settings().max_examples)
@given(PIECES, PIECES, st.lists(st.text("ab.$", max_size=4), max_size=8))
def test_no_name_is_lost_where_it_says_that_none_is(before: str, after: str, names: list[str]) -> None:
    old, new = f"^{before}$", f"^({before}|{after})$"
    for first, second in ((old, new), (new, old), (old, f"^{after}$")):
        try:
            one, other = re.compile(first), re.compile(second)
        except re.error:
            continue
        if not may_narrow(first, second):
            assert not [name for name in names if name and one.search(name) and not other.search(name)]
