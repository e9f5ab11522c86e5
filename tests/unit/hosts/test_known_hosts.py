"""Which keys a known_hosts file holds for a host, and what it says of one that is shown."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.hosts.known_hosts import (
    HostKey,
    Standing,
    algorithms,
    judge,
    keys_of,
    known_as,
    parse,
    with_key,
)

TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")
OFFERED = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256")
NAMES = st.sampled_from(["alpha", "beta", "198.18.0.11", "[alpha]:2222", "web-1.example.org", "2001:db8::1"])


def key(number: int = 0, kind: str = "ssh-ed25519") -> HostKey:
    name = kind.encode()
    return HostKey(type=kind, blob=len(name).to_bytes(4, "big") + name + bytes([number] * 32))


KEYS = st.builds(key, st.integers(0, 3), st.sampled_from(TYPES))


def hashed(name: str) -> str:
    digest = hmac.new(b"salt", name.encode(), hashlib.sha1).digest()
    return "|1|" + "|".join(base64.b64encode(part).decode() for part in (b"salt", digest))


def standing(text: str, name: str, seen: HostKey) -> Standing:
    return judge([parse(text, file="known_hosts")], name, seen).standing


@pytest.mark.parametrize(
    ("names", "name", "is_known"),
    [
        ("alpha", "alpha", True),
        ("ALPHA,198.18.0.11", "198.18.0.11", True),
        ("Alpha", "alpha", True),
        ("alpha", "alphabet", False),
        ("alpha", "[alpha]:2222", False),
        ("[alpha]:2222", "[alpha]:2222", True),
        ("[alpha]:2222", "[alpha]:2223", False),
        ("*.example.org", "web-1.example.org", True),
        ("web-?.example.org", "web-12.example.org", False),
        ("*.example.org,!web-1.example.org", "web-1.example.org", False),
        ("[*]:2222", "[beta]:2222", True),
        (hashed("alpha"), "alpha", True),
        (hashed("[alpha]:2222"), "[alpha]:2222", True),
        (hashed("alpha"), "beta", False),
        ("|1|broken", "alpha", False),
    ],
)
def test_a_line_means_the_hosts_that_openssh_takes_it_for(names: str, name: str, *, is_known: bool) -> None:
    text = f"{names} {key().text}"
    assert (standing(text, name, key()) is Standing.TRUSTED) is is_known


def test_what_is_no_key_is_passed_over_and_lines_keep_their_numbers() -> None:
    text = f"# note\n\nalpha\nalpha ssh-ed25519 !!!\nalpha ssh-rsa {key().text.split()[1]}\n"
    text += f"@cert-authority * {key(1).text}\nalpha {key(2).text} comment\n"
    (only,) = parse(text, file="f")
    assert (only.place, only.key) == ("f:7", key(2))


def test_a_key_is_unknown_changed_trusted_or_revoked() -> None:
    text = f"alpha {key(1).text}\nalpha {key(2, 'ssh-rsa').text}\n@revoked * {key(3).text}\n"
    assert standing(text, "beta", key(1)) is Standing.UNKNOWN
    assert standing(text, "alpha", key(1)) is Standing.TRUSTED
    assert standing(text, "alpha", key(2, "ssh-rsa")) is Standing.TRUSTED
    assert standing(text, "alpha", key(2)) is Standing.CHANGED
    # of a type that was not known: as suspicious as another key of a known type
    assert standing(text, "alpha", key(1, "ecdsa-sha2-nistp256")) is Standing.CHANGED
    assert standing(text, "beta", key(3)) is Standing.REVOKED
    assert standing(f"alpha {key(3).text}\n{text}", "alpha", key(3)) is Standing.REVOKED


def test_the_first_file_that_knows_a_host_decides_and_any_file_may_revoke() -> None:
    fleet = parse(f"alpha {key(1).text}", file="fleet")
    user = parse(f"alpha {key(2).text}\nbeta {key(3).text}\n@revoked alpha {key(1).text}", file="user")
    assert judge([fleet, user], "alpha", key(2)).standing is Standing.CHANGED
    assert judge([fleet, user], "beta", key(3)).standing is Standing.TRUSTED
    assert judge([fleet, user], "alpha", key(1)).standing is Standing.REVOKED


def test_a_host_is_asked_for_the_types_that_are_known_before_others() -> None:
    text = f"alpha {key(kind='ssh-rsa').text}\nalpha {key(kind='ssh-dss').text}"
    known = keys_of([parse(text, file="f")], "alpha")
    assert algorithms(known, OFFERED) == (
        "rsa-sha2-512",
        "rsa-sha2-256",
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
    )
    assert algorithms((), OFFERED) == OFFERED


def test_a_port_of_its_own_is_part_of_a_hosts_name() -> None:
    assert known_as("Alpha", 22) == "alpha"
    assert known_as("2001:DB8::1", 2222) == "[2001:db8::1]:2222"


def test_a_recorded_key_takes_the_place_of_others_and_leaves_other_names_alone() -> None:
    text = (
        f"# mine\nalpha,beta {key(1).text} old\n{hashed('alpha')} {key(1).text}\n"
        f"@revoked alpha {key(2).text}\n*.example.org {key(1).text}\n"
    )
    assert with_key(text, "alpha", key(3), comment="Alpha") == (
        f"# mine\nbeta {key(1).text} old\n@revoked alpha {key(2).text}\n*.example.org {key(1).text}\n"
        f"alpha {key(3).text} Alpha\n"
    )


@given(st.lists(st.tuples(NAMES, KEYS), max_size=8), NAMES, KEYS)
def test_after_recording_a_key_it_is_the_only_one_of_its_host_and_the_others_are_as_before(
    lines: list[tuple[str, HostKey]], name: str, new: HostKey
) -> None:
    before = "".join(f"{each} {known.text}\n" for each, known in lines)
    after = parse(with_key(before, name, new, comment=name), file="f")
    assert [known.key for known in keys_of([after], name)] == [new]
    for other in {each for each, _ in lines} - {name}:
        old = [known.key for known in keys_of([parse(before, file="f")], other)]
        assert [known.key for known in keys_of([after], other)] == old


@given(st.text(max_size=200))
def test_any_text_is_read_and_any_line_is_kept(text: str) -> None:
    kept = with_key(text, "alpha", key(), comment="a")
    assert judge([parse(kept, file="f")], "alpha", key()).standing is Standing.TRUSTED
    assert kept.splitlines()[:-1] == text.splitlines()
