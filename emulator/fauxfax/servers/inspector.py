"""Looks into a message before it is accepted: what could not be printed is refused with 554 5.6.1 (RFC 3249 4.4.3).

The sender's own server then reports the failure, and the machine sends no DSN. It costs the sender the time to decode,
and every message is decoded twice.
"""

from __future__ import annotations

from fauxfax.ifax.host import MessageReceived, Verdict
from fauxfax.servers.decoder import Decoder


class Inspector:
    """A decoder of its own, so that no sender waits for the documents that are being printed."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    async def __call__(self, message: MessageReceived) -> Verdict:
        """STORED lets the message through. What is not for this machine's paper is not looked into."""
        if all(one.forward for one in message.envelope.recipients):
            return Verdict.STORED
        decoded = await self._decoder.inspect(message.data, message.envelope)
        return Verdict.STORED if decoded.result == "R-OK" else Verdict.UNREADABLE

    async def stop(self) -> None:
        """End the worker."""
        await self._decoder.stop()
