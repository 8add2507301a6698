"""Decodes messages in a process of its own, so that no message can hurt the machine.

The worker (`python -m fauxfax.servers.decoder`) takes jobs on its standard input, one JSON line and then the message's
octets, and answers each with JSON lines: one for each page, then one with what became of it. A job prepares one
complete tray folder: written under another name, synced, renamed. Memory and processor time are limited by the
operating system; a worker that dies or takes too long is replaced, and the document becomes an error sheet.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fauxfax.errors import FauxfaxError
from fauxfax.ifax.host import Envelope

log = logging.getLogger(__name__)

LINE_LIMIT = 1024 * 1024
PIECE = 256 * 1024
"""Octets of a message that are handed to the worker at a time. A project value."""


@dataclass(frozen=True, slots=True)
class DecoderLimits:
    """What one document may cost; all are project values."""

    seconds: float = 120.0
    """Real seconds until the worker is killed."""
    processor_seconds: int = 90
    address_space: int = 4 << 30
    """Octets: 1 GiB of picture, as the codec and the document hold it, and the interpreter."""


@dataclass(frozen=True, slots=True)
class PageSummary:
    """One page as `document.json` lists it."""

    number: int
    width: int
    height: int
    dpi: tuple[float, float]
    coding: str
    damaged_rows: int
    missing_rows: int
    error: bool


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of a message: the folder is complete, whatever the result."""

    result: str
    reason: str
    pages: tuple[PageSummary, ...]
    headers: dict[str, str] = field(default_factory=dict)
    notification: bool = False
    """It is an MDN or DSN itself."""


class _WorkerLostError(FauxfaxError):
    """The worker died, or was killed, over a job."""


class Decoder:
    """A worker process, started with the first job, and the jobs that wait for it. With `jbig` it reads profile J."""

    def __init__(self, limits: DecoderLimits | None = None, *, jbig: bool = False) -> None:
        self._limits = limits or DecoderLimits()
        self._jbig = jbig
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self.restarts = 0

    async def decode(self, number: int, message: bytes, envelope: Envelope, folder: Path) -> Decoded:
        """Prepare the tray folder of document `number` at `folder`; a folder that is there is replaced.

        A message that cannot be decoded, or that kills the worker, gives a folder with an error sheet and a `Decoded`
        that says so. Raises FauxfaxError only if the folder cannot be written.
        """
        return await self._work(number, message, envelope, str(folder))

    async def inspect(self, message: bytes, envelope: Envelope) -> Decoded:
        """What would become of a message; nothing is written."""
        return await self._work(0, message, envelope, "")

    async def _work(self, number: int, message: bytes, envelope: Envelope, folder: str) -> Decoded:
        job = {
            "number": number, "envelope": envelope.as_dict(), "folder": folder, "jbig": self._jbig,
            "octets": len(message),
        }  # fmt: skip
        async with self._turn:
            try:
                return await self._run(job, message)
            except _WorkerLostError as error:
                log.warning("document %d: %s", number, error)
                return await self._run({**job, "failure": str(error)}, message)

    @property
    def worker_pid(self) -> int | None:
        """The worker's process id, if there is one."""
        return self._process.pid if self._process is not None else None

    async def stop(self) -> None:
        """End the worker."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _run(self, job: dict[str, Any], message: bytes) -> Decoded:
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await self._exchange(await self._worker(), job, message)
        except TimeoutError:
            reason = f"the message took more than {self._limits.seconds:g} s to decode"
        except (ConnectionError, asyncio.IncompleteReadError):
            reason = "the message ended the decoder"
        except asyncio.CancelledError:
            await self.stop()
            raise
        await self.stop()
        self.restarts += 1
        raise _WorkerLostError(reason)

    async def _exchange(self, worker: asyncio.subprocess.Process, job: dict[str, Any], message: bytes) -> Decoded:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps(job).encode() + b"\n")
        for at in range(0, len(message), PIECE):  # asyncio's buffer takes 45 ms to hand over 30 MB at once
            worker.stdin.write(message[at : at + PIECE])
            await worker.stdin.drain()
        pages: list[PageSummary] = []
        while True:
            answer = json.loads(await worker.stdout.readuntil(b"\n"))
            if "page" in answer:
                pages.append(PageSummary(**{**answer["page"], "dpi": tuple(answer["page"]["dpi"])}))
            elif "error" in answer:
                raise FauxfaxError(f"document {job['number']}: its folder cannot be written: {answer['error']}")
            else:
                return Decoded(pages=tuple(pages), **answer["done"])

    async def _worker(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "fauxfax.servers.decodeworker", str(self._limits.address_space),
                str(self._limits.processor_seconds), str(os.getpid()),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LINE_LIMIT,
                start_new_session=True,  # a Ctrl-C at the terminal is for the machine, which ends its worker itself
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )  # fmt: skip
        return self._process
