import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.mail.address import InvalidAddress, parse_address


@pytest.mark.parametrize(
    ("text", "name", "addr_spec"),
    [
        ("ann@example.org", "", "ann@example.org"),
        ("  ann@example.org ", "", "ann@example.org"),
        ("Ann Smith <ann.smith+shop@example.org>", "Ann Smith", "ann.smith+shop@example.org"),
        ('"Smith, Ann" <ann@example.org>', "Smith, Ann", "ann@example.org"),
        ("<root@localhost>", "", "root@localhost"),
        ("o'neil@example.org", "", "o'neil@example.org"),
        ("ann@bücher.example", "", "ann@xn--bcher-kva.example"),
        ("jörg@example.org", "", "jörg@example.org"),
    ],
)
def test_an_address_is_read_with_and_without_a_name(text: str, name: str, addr_spec: str) -> None:
    address = parse_address(text)
    assert (address.name, address.addr_spec) == (name, addr_spec)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ann",
        "@example.org",
        "ann@",
        "ann@-example.org",
        "ann@example..org",
        "ann@exa mple.org",
        "an n@example.org",
        ".ann@example.org",
        "ann..smith@example.org",
        "ann@example.org, bob@example.org",
        "Ann <ann@example.org> <bob@example.org>",
        "ann@example.org\n",
        "ann@example.org\r\nBcc: bob@example.org",
        "Ann\nBcc: bob@example.org <ann@example.org>",
        "ann\x00@example.org",
        "ann@example.org>\r\nRCPT TO:<bob@example.org",
        "a" * 65 + "@example.org",
        "ann@" + "a." * 130 + "org",
        '"ann smith"@example.org',
        "ann@[127.0.0.1]",
        "ann\u2028@example.org",
        "ann\ud800@example.org",
        "ann@ex_ample.org",
    ],
)
def test_what_is_not_one_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddress):
        parse_address(text)


@pytest.mark.parametrize("value", [["ann@example.org"], None, 5, {"to": "ann@example.org"}])
def test_a_list_of_addresses_is_not_one_recipient(value: object) -> None:
    with pytest.raises(InvalidAddress, match="one task mails one recipient"):
        parse_address(value)


def test_the_error_shows_the_value_to_a_sender_but_not_in_its_reason() -> None:
    with pytest.raises(InvalidAddress) as caught:
        parse_address("ann at example.org")
    assert "'ann at example.org' is not a mail address: it has no `@`" in str(caught.value)
    assert caught.value.reason == "the recipient is not a mail address: it has no `@`"


@given(st.text(max_size=40))
def test_whatever_passes_cannot_end_a_header_or_a_command(text: str) -> None:
    try:
        address = parse_address(text + "@example.org")
    except InvalidAddress:
        return
    assert len((address.name + address.addr_spec).splitlines()) == 1
    assert not set(address.addr_spec) & set(' \t<>(),;:\\"[]')
