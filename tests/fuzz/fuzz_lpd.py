"""Fuzzes LPD's session: it never raises, and says the same however the octets are cut."""

from __future__ import annotations

import atheris
from harness import SPACE, pieces, start

with atheris.instrument_imports(include=["fauxfax.hostport"]):
    from fauxfax.hostport.lpd import Data, DataEnded, Session, StateWanted


def talk(stream: list[bytes]) -> tuple[bytes, bytes, str]:
    session, heard = Session(), bytearray()
    for piece in [*stream, None]:
        if session.over:
            break
        session.receive_end() if piece is None else session.receive(piece)
        while (event := session.next_event(SPACE)) is not None:
            match event:
                case Data(octets):
                    assert len(octets) <= SPACE
                    heard += octets
                case StateWanted():
                    session.tell("ready\n")
                case DataEnded():
                    session.refuse() if len(heard) % 2 else session.acknowledge()
                case _:
                    session.acknowledge()
    return session.data_to_send(), bytes(heard), session.complaint


def test_one_input(data: bytes) -> None:
    whole, cut = map(talk, pieces(data))
    assert whole == cut, (whole, cut)


if __name__ == "__main__":
    start(test_one_input)
