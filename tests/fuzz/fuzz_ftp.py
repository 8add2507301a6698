"""Fuzzes FTP's session: it never raises, answers in lines of FTP, and says the same however the octets are cut."""

from __future__ import annotations

import re

import atheris
from harness import pieces, start

with atheris.instrument_imports(include=["fauxfax.hostport"]):
    from fauxfax.hostport.ftp import Aborted, ActiveWanted, ListWanted, PassiveWanted, Session, StoreWanted

PEER = "192.0.2.1"
REPLIES = re.compile(rb"(?:[1-5]\d\d[ -][^\r\n]*\r\n)*")


def talk(stream: list[bytes]) -> bytes:
    session = Session(PEER, "EMUFAX1")
    for piece in stream:
        session.receive(piece)
        while (event := session.next_event()) is not None:
            match event:
                case PassiveWanted():
                    session.passive(PEER, 2121)
                case ActiveWanted(port):
                    assert 0 < port < 65536
                    session.active()
                case StoreWanted() | ListWanted():
                    session.opening()
                    session.ended(226, "done")
                case Aborted():
                    session.ended(426, "given up")
    return session.data_to_send()


def test_one_input(data: bytes) -> None:
    whole, cut = map(talk, pieces(data))
    assert REPLIES.fullmatch(whole), whole
    assert whole == cut, (whole, cut)


if __name__ == "__main__":
    start(test_one_input)
