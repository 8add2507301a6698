from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxfax.hostport.ftp import (
    MAX_LINE,
    Aborted,
    ActiveWanted,
    Event,
    ListWanted,
    PassiveWanted,
    Session,
    State,
    StoreWanted,
)

PEER = "192.0.2.7"
LOGIN = "USER me\r\nPASS 1234\r\n"


def played(text: str, *, cuts: tuple[int, ...] = ()) -> tuple[list[Event], list[str]]:
    """A session in which every transfer succeeds: its events, and its replies after the greeting."""
    session, events, data = Session(PEER, "EMUFAX1"), [], text.encode("latin-1")
    for start, stop in itertools.pairwise([0, *sorted(cuts), len(data)]):
        session.receive(data[start:stop])
        while (event := session.next_event()) is not None:
            events.append(event)
            match event:
                case PassiveWanted():
                    session.passive("192.0.2.1", 0x1234)
                case ActiveWanted():
                    session.active()
                case StoreWanted() | ListWanted():
                    session.opening()
                    session.ended(226, "done\r\n550 injected")
    greeting, *replies = session.data_to_send().decode("latin-1").split("\r\n")[:-1]
    assert greeting == "220 FTP server ready."
    return events, replies


def code(replies: list[str]) -> list[int]:
    return [int(reply[:3]) for reply in replies]


@pytest.mark.parametrize(
    ("line", "replies"),
    [
        ("NOOP", [200]),
        ("noop", [200]),
        ("SYST", [215]),
        ("TYPE I", [200]),
        ("TYPE A", [200]),
        ("TYPE L 8", [200]),
        ("TYPE E", [504]),
        ("MODE S", [200]),
        ("MODE B", [504]),
        ("STRU F", [200]),
        ("STRU R", [504]),
        ("PWD", [257]),
        ("CWD /anywhere", [250]),
        ("CDUP", [250]),
        ("ALLO 100", [202]),
        ("RETR x", [550]),
        ("DELE x", [550]),
        ("ABOR", [226]),
        ("STOR", [501]),
        ("PORT 192,0,2,7,4", [501]),
        ("PORT 192,0,2,7,4,256", [501]),
        ("PORT 192,0,2,7,3,255", [501]),
        ("PORT 192,0,2,8,4,1", [501]),
        ("EPRT |1|192.0.2.8|5000|", [501]),
        ("EPRT", [501]),
        ("EPSV 3", [522]),
        ("FEAT", [510]),
        ("", [510]),
        ("GET / HTTP/1.0", [510]),
        ("PASS again", [503]),
        ("QUIT", [221]),
    ],
)
def test_what_a_line_is_answered(line: str, replies: list[int]) -> None:
    assert code(played(f"{LOGIN}{line}\r\n")[1][2:]) == replies


def test_the_login_says_that_no_factory_made_this_machine() -> None:
    assert played(LOGIN)[1][-1] == "230 Logged in to EMUFAX1."


def test_an_unknown_line_gets_the_sisters_words() -> None:
    assert played("HELP\r\n")[1] == ["510 command not supported."]


@pytest.mark.parametrize(
    ("line", "event", "reply"),
    [
        ("PASV", PassiveWanted(extended=False), "227 Entering Passive Mode (192,0,2,1,18,52)"),
        ("EPSV", PassiveWanted(extended=True), "229 Entering Extended Passive Mode (|||4660|)"),
        ("PORT 192,0,2,7,4,1", ActiveWanted(1025), "200 OK."),
        ("EPRT |1|192.0.2.7|5000|", ActiveWanted(5000), "200 OK."),
    ],
)
def test_how_a_data_connection_is_agreed_on(line: str, event: Event, reply: str) -> None:
    events, replies = played(f"{LOGIN}{line}\r\n")
    assert (events, replies[-1]) == ([event], reply)


def test_a_reply_is_one_line_whatever_the_reason_says() -> None:
    assert played(f"{LOGIN}STOR code file.pfc\r\n")[1][2:] == ["150 Opening data connection.", "226 done 550 injected"]


@pytest.mark.parametrize("line", ["STOR x", "PASV", "LIST", "TYPE I"])
def test_nothing_works_before_the_login(line: str) -> None:
    assert code(played(f"{line}\r\nUSER me\r\n{line}\r\n")[1]) == [530, 331, 530]


@pytest.mark.parametrize(("password", "kept"), [("1234", "1234"), ("me@example.org", ""), ("", ""), ("٣", "")])
def test_a_password_of_digits_is_kept_for_the_job(password: str, kept: str) -> None:
    session = Session(PEER, "EMUFAX1")
    session.receive(f"USER me\r\nPASS {password}\r\n".encode())
    assert session.next_event() is None
    assert (session.state, session.password) == (State.READY, kept)


@pytest.mark.parametrize("abort", [b"ABOR\r\n", b"\xff\xf4\xff\xf2ABOR\r\n", b"\xff\xf4\xf2abor\r\n"])
def test_during_a_transfer_only_an_abort_is_heard(abort: bytes) -> None:
    session = Session(PEER, "EMUFAX1")
    session.receive(LOGIN.encode() + b"STOR x\r\n")
    assert session.next_event() == StoreWanted("x")
    session.opening()
    session.receive(abort)
    assert session.next_event() == Aborted()
    session.receive(b"QUIT\r\n")
    assert session.next_event() is None
    session.ended(426, "aborted")
    assert session.next_event() is None
    assert session.over


def test_a_long_line_is_one_unknown_line_however_it_is_cut() -> None:
    line = "STOR " + "x" * MAX_LINE
    for cuts in ((), (100, 600), (len(LOGIN) + MAX_LINE + 2,)):
        assert code(played(f"{LOGIN}{line}\r\nNOOP\r\n", cuts=cuts)[1][2:]) == [510, 200]


@given(st.lists(st.integers(0, 60), max_size=6))
def test_where_lines_are_cut_does_not_matter(cuts: list[int]) -> None:
    text = f"{LOGIN}PASV\r\nSTOR name\r\nNOOP\r\nQUIT\r\n"
    assert played(text, cuts=tuple(min(cut, len(text)) for cut in cuts)) == played(text)


@given(st.binary(max_size=200))
def test_hostile_octets_never_raise(data: bytes) -> None:
    for before in (b"", LOGIN.encode(), LOGIN.encode() + b"STOR x\r\n", LOGIN.encode() + b"EPRT "):
        played((before + data + b"\r\n").decode("latin-1"))


def test_what_a_client_said_is_repeated_without_its_controls() -> None:
    _, replies = played(LOGIN + "TYPE X\r550 injected\x1b\0\r\n")
    assert replies[-1] == "504 Type X?550 injected?? is not supported."
