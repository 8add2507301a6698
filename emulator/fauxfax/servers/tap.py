"""A tap on a socket: hears what both ends of a connection say, and stands between asyncio and a server's protocol.

    await loop.create_server(tapped(lambda: Session(self), tap), host, port)

Without a tap the factory stays what it was, and nothing is paid.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from fauxfax.capture.tcp import Conversation, End

Factory = Callable[[], asyncio.BaseProtocol]


class Tap(Protocol):
    """Begins to write a connection down."""

    def __call__(self, transport: asyncio.BaseTransport, own: End, *, main: bool) -> Conversation:
        """`own` is this program's end; `main` is false for a connection beside the one the server listens for."""
        ...


@runtime_checkable
class Tappable(Protocol):
    """A server that can be listened in on, if the tap is there before it starts."""

    tap: Tap | None


def tapped(factory: Factory, tap: Tap | None, own: End = End.SERVER, *, main: bool = True) -> Factory:
    """The factory, with a tap on each connection if there is one; see Tap."""
    if tap is None:
        return factory

    def make() -> asyncio.BaseProtocol:
        inner = factory()
        if isinstance(inner, asyncio.BufferedProtocol):
            return _TappedBuffer(inner, tap, own, main=main)
        assert isinstance(inner, asyncio.Protocol)
        return _TappedStream(inner, tap, own, main=main)

    return make


class _Tapped(asyncio.BaseProtocol):
    """What both kinds of protocol share; the inner protocol says what the octets mean."""

    def __init__(self, inner: asyncio.Protocol | asyncio.BufferedProtocol, tap: Tap, own: End, *, main: bool) -> None:
        self._inner = inner
        self._main = main
        self._tap = tap
        self._own = own
        self._peer = End.CLIENT if own is End.SERVER else End.SERVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._conversation = self._tap(transport, self._own, main=self._main)
        self._inner.connection_made(_TappedTransport(transport, self._conversation, self._own))

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._conversation.reset(self._peer)
        self._conversation.finished(self._peer)
        self._conversation.finished(self._own)
        self._inner.connection_lost(exc)

    def eof_received(self) -> bool | None:
        self._conversation.finished(self._peer)
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


class _TappedStream(_Tapped, asyncio.Protocol):
    _inner: asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        self._conversation.said(self._peer, data)
        self._inner.data_received(data)


class _TappedBuffer(_Tapped, asyncio.BufferedProtocol):
    _inner: asyncio.BufferedProtocol

    def get_buffer(self, sizehint: int) -> memoryview:
        self._buffer = memoryview(self._inner.get_buffer(sizehint))
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._conversation.said(self._peer, self._buffer[:nbytes])
        self._inner.buffer_updated(nbytes)


class _TappedTransport(asyncio.Transport):
    """The transport, as the inner protocol sees it."""

    def __init__(self, transport: asyncio.Transport, conversation: Conversation, own: End) -> None:
        super().__init__()
        self._transport = transport
        self._conversation = conversation
        self._own = own

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._conversation.said(self._own, bytes(data))
        self._transport.write(data)

    def write_eof(self) -> None:
        self._conversation.finished(self._own)
        self._transport.write_eof()

    def abort(self) -> None:
        self._conversation.reset(self._own)
        self._transport.abort()

    def close(self) -> None:
        self._transport.close()

    def can_write_eof(self) -> bool:
        return self._transport.can_write_eof()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def is_reading(self) -> bool:
        return self._transport.is_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high, low)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._transport.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._transport.get_protocol()
