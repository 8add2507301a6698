from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxfax.errors import FormatError
from fauxfax.ifax.address import Address, Directory, FaxNumber, is_literal, parse_fax_number
from fauxfax.ifax.host import Envelope, Mode, Recipient
from fauxfax.ifax.replies import render
from fauxfax.ifax.syntax import decode_xtext, parse_path


@pytest.mark.parametrize(
    ("local", "number"),
    [
        ("FAX=+12125551212", FaxNumber("+12125551212", "")),
        ("fax=+1-212-555-1212", FaxNumber("+12125551212", "")),
        ("FAX=+1.212.555.1212/T33S=183", FaxNumber("+12125551212", "183")),
        ("FAX=3940", FaxNumber("3940", "")),
        ("FAX=+3940/T33S=", None),
        ("FAX=+3940/OTHER=1", None),
        ("FAX=", None),
        ("FAX=one", None),
        ("fax", None),
    ],
)
def test_fax_numbers_in_local_parts(local: str, number: FaxNumber | None) -> None:
    assert parse_fax_number(local) == number


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("<jane@example.org>", Address("jane", "example.org")),
        ("  <jane@example.org>", Address("jane", "example.org")),
        ("jane@example.org", Address("jane", "example.org")),
        ("<>", None),
        ("<@a.example,@b.example:jane@example.org>", Address("jane", "example.org")),
        ('<"jane doe"@example.org>', Address("jane doe", "example.org")),
        (r'<"a\"b"@example.org>', Address('a"b', "example.org")),
        ("<jane@[192.0.2.1]>", Address("jane", "[192.0.2.1]")),
        ("<postmaster>", Address("postmaster")),
        ("<@uf-8000.local>", Address("", "uf-8000.local")),
    ],
)
def test_paths_that_are_read(text: str, address: Address | None) -> None:
    assert parse_path(text).address == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<jane@example.org",
        "jane@example.org>",
        "<jane doe@example.org>",
        "<jane@>",
        "<jane@-example.org>",
        "<a@b@c>",
        "<jane@example.org>SIZE=1",
        '<"jane@example.org>',
        "<" + "a" * 300 + "@example.org>",
        "<jane@example.org> =1",
    ],
)
def test_paths_that_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        parse_path(text)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
def test_any_local_part_survives_being_written_and_read(local: str) -> None:
    address = Address(local, "example.org")
    assert parse_path(f"<{address}>").address == address


@given(st.text(max_size=60))
def test_a_path_is_read_or_refused(text: str) -> None:
    try:
        parse_path(text)
    except FormatError:
        pass


@pytest.mark.parametrize(("text", "plain"), [("a+2Bb", "a+b"), ("a+3Db", "a=b"), ("+0D+0Ax", "??x")])
def test_xtext(text: str, plain: str) -> None:
    assert decode_xtext(text) == plain


@pytest.mark.parametrize("text", ["a+2b", "a+", "a=b", "a b", "ü"])
def test_what_is_no_xtext(text: str) -> None:
    with pytest.raises(FormatError):
        decode_xtext(text)


def test_a_blank_password_never_relays() -> None:
    directory = Directory(domain="fax.example", relay_domains=("example.net",))
    assert directory.resolve(Address("a", "example.net")).code == 551
    assert directory.resolve(Address("a%example.net")).code == 550


def test_an_open_relay_of_the_family_still_wants_its_password() -> None:
    directory = Directory(domain="fax.example", relay_when_blank=True, relay_password="secret")
    assert directory.resolve(Address("a", "example.net")).code == 550
    assert directory.resolve(Address("a%example.net/RELAY=secret")).forward


def test_the_subaddress_is_kept() -> None:
    directory = Directory(domain="fax.example", fax_number="12125551212")
    assert directory.resolve(Address("FAX=+12125551212/T33S=7")).subaddress == "7"


def test_no_reply_text_can_forge_a_line() -> None:
    assert render(250, "a\r\n354 b\x07ü") == b"250 a??354 b??\r\n"


def test_an_envelope_survives_being_plain_data() -> None:
    recipient = Recipient(address="a", mailbox="fax", notify=("NEVER",), original="rfc822;a")
    envelope = Envelope(
        session=1, peer="p", helo="h", sender="s", recipients=(recipient,), received_at=1.5, mode=Mode.SAML, envid="e"
    )
    assert Envelope.from_dict(envelope.as_dict()) == envelope


@pytest.mark.parametrize(
    ("domain", "address", "same"),
    [
        ("[192.0.2.7]", "192.0.2.7", True),
        ("[IPv6:2001:db8::7]", "2001:db8:0::7", True),
        ("[ipv6:::1]", "::1", True),
        ("[192.0.2.8]", "192.0.2.7", False),
        ("[192.0.2.7]", "", False),
        ("[nonsense]", "192.0.2.7", False),
        ("[]", "", False),
    ],
)
def test_a_machine_is_named_by_the_address_it_was_reached_at(domain: str, address: str, same: bool) -> None:
    assert is_literal(domain, address) is same
