"""The octets of a capture: blocks of pcapng, conversations of TCP, request blocks of USB."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from capture_reader import Packet, blocks, options, packets
from hypothesis import given
from hypothesis import strategies as st

from fauxfax.capture.pcapng import BLOCKS, LINK_RAW_IP, LINK_USB, MAX_COMMENT, Octets, Sink, Writer
from fauxfax.capture.tcp import MAX_SEGMENT, Address, Conversation, End
from fauxfax.capture.urb import HEADER_SIZE, Recorder
from fauxfax.servers.filewriter import Expander

NOW = 1_700_000_000_123_456_789


class File:
    def __init__(self) -> None:
        self.data = bytearray()
        self.expander = Expander()
        self.write: Sink = self._write
        self.writer = Writer(self, lambda: NOW, "test")

    def _write(self, size: int, parts: Sequence[Octets], kind: int = BLOCKS) -> None:
        block = self.expander.octets(b"".join(parts), kind)
        assert len(block) == size
        self.data += block


@dataclass
class Moved:
    endpoint: int
    length: int
    actual: int


def test_a_file_says_what_it_is_and_on_which_interface_a_packet_was() -> None:
    file = File()
    number = file.writer.interface(LINK_RAW_IP, "smtp", "mail")
    file.writer.packet(number, b"head", b"data!")
    (section, _), (interface, described), (packet, _) = blocks(bytes(file.data))
    assert (section, interface, packet) == (0x0A0D0D0A, 1, 6)
    assert struct.unpack_from("<H", described) == (101,)
    assert options(described[8:]) == [(2, b"smtp"), (3, b"mail"), (9, b"\x09")]
    assert packets(bytes(file.data)) == [Packet(NOW, b"headdata!", 9, [])]


@given(st.lists(st.tuples(st.binary(max_size=9), st.lists(st.text(max_size=400), max_size=2)), max_size=5))
def test_every_packet_and_comment_comes_back(said: list[tuple[bytes, list[str]]]) -> None:
    file = File()
    number = file.writer.interface(LINK_RAW_IP, "raw", "")
    for data, comments in said:
        for comment in comments:
            file.writer.comment(comment)
        file.writer.packet(number, b"", data)
    assert [(one.data, one.comments) for one in packets(bytes(file.data))] == [
        (data, comments) for data, comments in said
    ]


def test_a_long_comment_is_cut_between_two_characters() -> None:
    file = File()
    file.writer.comment("€" * 1000)
    file.writer.packet(file.writer.interface(LINK_RAW_IP, "raw", ""), b"")
    (comment,) = packets(bytes(file.data))[0].comments
    assert comment == "€" * (MAX_COMMENT // 3)


def conversation(file: File, number: int, client: Address, server: Address) -> Conversation:
    return Conversation(file.writer, file.writer.interface(LINK_RAW_IP, "mail", ""), number, client, server)


class Heard:
    """Puts the streams together again, as a receiver does, by sequence numbers; each port's, and all flags in order."""

    def __init__(self, file: File) -> None:
        self.streams: dict[int, bytearray] = {}
        self.flags: list[int] = []
        self.comments: list[list[str]] = []
        for one in packets(bytes(file.data)):
            size = 20 if one.data[0] >> 4 == 4 else 40
            source, _, sequence, _, _, flags = struct.unpack_from(">HHIIBB", one.data, size)
            data, stream = one.data[size + 20 :], self.streams.setdefault(source, bytearray())
            assert one.time == NOW
            assert sequence == (0 if flags & 0x02 else 1 + len(stream))
            stream += data
            self.flags.append(flags)
            self.comments.append(one.comments)


@given(st.lists(st.tuples(st.sampled_from(End), st.binary(max_size=20)), max_size=6), st.booleans())
def test_what_both_ends_said_can_be_put_together(said: list[tuple[End, bytes]], six: bool) -> None:
    file, host = File(), "::1" if six else "127.0.0.1"
    talk = conversation(file, 7, Address(host, 40000), Address(host, 25))
    for end, data in said:
        talk.said(end, data)
    talk.finished(End.CLIENT)
    talk.finished(End.SERVER)
    talk.reset(End.SERVER)
    heard = Heard(file)
    for end, port in ((End.CLIENT, 40000), (End.SERVER, 25)):
        assert heard.streams[port] == b"".join(data for who, data in said if who is end)
    assert heard.flags[:3] == [0x02, 0x12, 0x10]
    assert heard.flags[-2:] == [0x11, 0x11]


def test_a_long_write_is_several_segments_and_nothing_follows_a_reset() -> None:
    file = File()
    talk = conversation(file, 0, Address("127.0.0.1", 40000), Address("127.0.0.1", 9100))
    talk.said(End.CLIENT, bytes(2 * MAX_SEGMENT + 1))
    talk.reset(End.SERVER)
    talk.said(End.CLIENT, b"too late")
    talk.finished(End.CLIENT)
    heard = Heard(file)
    assert len(heard.streams[40000]) == 2 * MAX_SEGMENT + 1
    assert heard.flags == [0x02, 0x12, 0x10, 0x18, 0x18, 0x18, 0x14]


def test_conversations_side_by_side_are_kept_apart_and_comments_go_with_the_next_packet() -> None:
    file = File()
    file.writer.comment("one begins")
    one = conversation(file, 1, Address("127.0.0.1", 40001), Address("127.0.0.1", 25))
    other = conversation(file, 2, Address("127.0.0.1", 40002), Address("127.0.0.2", 26))
    one.said(End.CLIENT, b"HELO one")
    file.writer.comment("a fault")
    file.writer.comment("and another")
    other.said(End.CLIENT, b"HELO another")
    one.said(End.SERVER, b"250")
    other.reset(End.CLIENT)
    one.said(End.CLIENT, b"QUIT")
    heard = Heard(file)
    assert {port: bytes(stream) for port, stream in heard.streams.items()} == {
        40001: b"HELO oneQUIT", 25: b"250", 40002: b"HELO another", 26: b"",
    }  # fmt: skip
    assert heard.comments == [["one begins"], *[[]] * 6, ["a fault", "and another"], *[[]] * 3]


def test_a_conversation_has_one_family_of_addresses() -> None:
    with pytest.raises(ValueError, match=r"::1 and 127\.0\.0\.1"):
        conversation(File(), 0, Address("::1", 40000), Address("127.0.0.1", 25))


@pytest.mark.parametrize(("snap", "length", "kept"), [(2000, 2000, 2000), (2000, 2001, 1024), (10, 11, 10), (0, 9, 0)])
def test_a_long_transfer_is_kept_whole_or_its_beginning_is(snap: int, length: int, kept: int) -> None:
    file, data = File(), bytes(range(256)) * 8
    recorder = Recorder(file.writer, file.writer.interface(LINK_USB, "usb", ""), 1, 7, itertools.count(1), snap)
    recorder.sent(Moved(0x01, length, length), data[:length], NOW, NOW)
    recorder.complete(recorder.submit(0x81, length, b"", NOW), 0x81, 0, length, data[:length], NOW)
    begin, _, _, end = packets(bytes(file.data))
    assert [one.data[HEADER_SIZE:] for one in (begin, end)] == [data[:kept]] * 2
    assert [struct.unpack_from("<II", one.data, 32) for one in (begin, end)] == [(length, kept)] * 2


def test_a_transfer_is_two_blocks_and_what_is_left_out_is_counted() -> None:
    file = File()
    interface = file.writer.interface(LINK_USB, "usb", "")
    recorder = Recorder(file.writer, interface, 1, 7, itertools.count(1), 4)
    number = recorder.submit(0x01, 6, b"abcdef", NOW)
    file.writer.comment("a fault")
    recorder.complete(number, 0x01, -32, 3, b"", NOW + 1)
    recorder.control(bytes((0x80, 6, 0, 1, 0, 0, 18, 0)), b"xy", 0, NOW)
    recorder.sent(Moved(0x01, 3, 3), b"abc", NOW, NOW + 1)
    found = packets(bytes(file.data))
    assert [(one.data[8:11], one.data[HEADER_SIZE:], one.original - HEADER_SIZE) for one in found] == [
        (b"S\x03\x01", b"abcd", 6),
        (b"C\x03\x01", b"", 0),
        (b"S\x02\x80", b"", 0),
        (b"C\x02\x80", b"xy", 2),
        (b"S\x03\x01", b"abc", 3),
        (b"C\x03\x01", b"", 0),
    ]
    assert [one.comments for one in found] == [[], ["a fault"], [], [], [], []]
    assert [one.time for one in found] == [NOW, NOW + 1, NOW, NOW, NOW, NOW + 1]
    assert [struct.unpack_from("<Q", one.data) for one in found] == [(1,), (1,), (2,), (2,), (3,), (3,)]
    assert struct.unpack_from("<iII", found[1].data, 28) == (-32, 3, 0)
    assert struct.unpack_from("<qi", found[0].data, 16) == (NOW // 10**9, NOW // 1000 % 10**6)
    assert found[2].data[40:48] == bytes((0x80, 6, 0, 1, 0, 0, 18, 0))
