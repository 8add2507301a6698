"""The control API: what a test, a script or a page asks of the machine and does to it, over HTTP.

| Method and path                | Does                                                             |
|--------------------------------|------------------------------------------------------------------|
| GET /v1/machine                | status, the same object as `fauxfax status --json`               |
| GET /v1/panel                  | what the display shows                                           |
| POST /v1/panel/keys            | presses keys: `{"keys": ["CLEAR"]}`                              |
| GET /v1/tray                   | documents in the tray, oldest first                              |
| GET /v1/tray/N                 | one document's `document.json`                                   |
| GET /v1/tray/N/FILE            | `document.pdf`, `document.tif`, `message.eml`, `page-1.png`, …   |
| GET /v1/journal, /v1/memory    | the communication journal; the image memory                      |
| POST /v1/power                 | `{"action": "on" or "off" or "cut"}`                             |
| POST /v1/clock                 | moves a manual clock: `{"advance": seconds}`                     |
| GET, POST, DELETE /v1/faults   | the armed rules; arm `{"rule": "…"}`; disarm all                 |
| GET /v1/events                 | server-sent events from now on, or after `Last-Event-ID`         |
| GET /v1/config                 | every setting and where it came from                             |
| GET, PUT /v1/snapshot          | the whole machine as one file; put one back                      |

Errors are JSON, `{"error": "…"}`, with 400 for a mistake in the request. A browser's page of another origin gets 403.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from fauxfax.errors import FauxfaxError, FormatError, Misuse
from fauxfax.events import EventStream, Record
from fauxfax.faults import FaultPlan
from fauxfax.servers.tray import Tray

MAX_BODY = 64 * 1024
"""Octets of a JSON request: a project value."""
MAX_SNAPSHOT = 512 * 1024 * 1024
"""Octets of a snapshot that is put back: a project value."""
MAX_ADVANCE = 86400.0
"""Machine seconds that a manual clock is moved in one go: a project value."""
KEEP_ALIVE = 15.0
"""Seconds between comments on a silent event stream, so that a dead peer is noticed."""
MAX_CONNECTIONS = 128
"""Connections at a time; the next one is closed at once. A project value."""
REQUEST_SECONDS = 30.0
"""A connection that has made no whole request by then is closed (real seconds). A project value."""
log = logging.getLogger(__name__)


class Controllable(Protocol):
    """What the control API needs of a machine."""

    events: EventStream
    faults: FaultPlan

    def status(self) -> dict[str, Any]:
        """The status object of the contract."""
        ...

    def memory_status(self) -> dict[str, Any]:
        """What lies in the image memory."""
        ...

    def journal_entries(self) -> list[dict[str, object]]:
        """The journal, oldest first."""
        ...

    def press(self, keys: list[str]) -> None:
        """Press keys in order. Raises Misuse for an unknown one."""
        ...

    def power(self, action: str) -> None:
        """`on`, `off` or `cut`. Raises Misuse for anything else."""
        ...

    def advance(self, seconds: float) -> None:
        """Move machine time. Raises Misuse unless the clock is manual."""
        ...

    async def save_snapshot(self, path: Path) -> None:
        """Write the whole machine into a file."""
        ...

    async def restore_snapshot(self, path: Path) -> None:
        """Become the machine of the file; it starts as after a power cycle."""
        ...


class ControlServer:
    """The API of one machine, served by uvicorn on the running loop."""

    def __init__(self, machine: Controllable, tray: Tray, settings: Callable[[], list[dict[str, object]]]) -> None:
        self._machine = machine
        self._tray = tray
        self._settings = settings
        self._stopping = asyncio.Event()
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._hosts: set[str] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen. Returns the port that is really used."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            listener.close()
            raise
        listener.listen(64)
        real_port = int(listener.getsockname()[1])
        self._hosts = {f"{name}:{real_port}" for name in ("localhost", "127.0.0.1", "[::1]", host)}
        self._server = _Server(
            uvicorn.Config(
                self._application(),
                lifespan="off",
                http=_Connection,
                ws="none",
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=1,
                timeout_keep_alive=5,
            )
        )
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="control")
        while not self._server.started and not self._task.done():
            await asyncio.sleep(0.001)
        return real_port

    async def stop(self) -> None:
        """Stop, also with a browser connected: event streams end first."""
        self._stopping.set()
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            _, pending = await asyncio.wait([self._task], timeout=0.5)
            if pending:
                self._server.force_exit = True
                await asyncio.wait([self._task], timeout=0.5)

    def _application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/machine", self._answer(lambda _: self._machine.status())),
                Route("/v1/panel", self._answer(lambda _: self._panel())),
                Route("/v1/panel/keys", self._keys, methods=["POST"]),
                Route("/v1/tray", self._tray_list),
                Route("/v1/tray/{number:int}", self._answer(lambda r: self._tray.document(r.path_params["number"]))),
                Route("/v1/tray/{number:int}/{file}", self._tray_file),
                Route("/v1/journal", self._answer(lambda _: self._machine.journal_entries())),
                Route("/v1/memory", self._answer(lambda _: self._machine.memory_status())),
                Route("/v1/power", self._power, methods=["POST"]),
                Route("/v1/clock", self._clock, methods=["POST"]),
                Route("/v1/faults", self._faults, methods=["GET", "POST", "DELETE"]),
                Route("/v1/events", self._events),
                Route("/v1/config", self._answer(lambda _: self._settings())),
                Route("/v1/snapshot", self._snapshot, methods=["GET", "PUT"]),
            ],
            exception_handlers={HTTPException: _http_error, FauxfaxError: _own_error},
        )

    def _check_origin(self, request: Request) -> None:
        """Nobody else's web page may drive the machine: the host asked for and the origin must be this server."""
        origin = request.headers.get("origin")
        if request.headers.get("host", "") not in self._hosts or (
            origin is not None and origin.partition("://")[2] not in self._hosts
        ):
            raise HTTPException(403, "this API answers requests to its own address only, not from other sites")

    def _answer(self, get: Callable[[Request], object]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            self._check_origin(request)
            return JSONResponse(get(request))

        return endpoint

    def _panel(self) -> dict[str, object]:
        status = self._machine.status()
        return {"lines": status["panel"], "lamps": status["lamps"]}

    async def _keys(self, request: Request) -> Response:
        self._check_origin(request)
        keys = (await _body(request)).get("keys")
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise HTTPException(400, 'expected {"keys": ["CLEAR", …]}')
        self._machine.press(keys)
        return JSONResponse(self._panel())

    async def _power(self, request: Request) -> Response:
        self._check_origin(request)
        self._machine.power(str((await _body(request)).get("action")))
        return JSONResponse(self._machine.status())

    async def _clock(self, request: Request) -> Response:
        self._check_origin(request)
        seconds = (await _body(request)).get("advance")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= MAX_ADVANCE:
            raise HTTPException(400, f'expected {{"advance": seconds}}, from 0 to {MAX_ADVANCE:g}')
        self._machine.advance(float(seconds))
        return JSONResponse(self._machine.status())

    async def _faults(self, request: Request) -> Response:
        self._check_origin(request)
        if request.method == "POST":
            self._machine.faults.arm(str((await _body(request)).get("rule", "")))
        elif request.method == "DELETE":
            self._machine.faults.clear()
        return JSONResponse([rule.as_dict() for rule in self._machine.faults.rules])

    async def _tray_list(self, request: Request) -> Response:
        self._check_origin(request)
        return JSONResponse(await asyncio.to_thread(self._tray.list))  # thousands of files: nobody else waits

    async def _tray_file(self, request: Request) -> Response:
        self._check_origin(request)
        number, name = request.path_params["number"], request.path_params["file"]
        if name.startswith("page-") and name.endswith(".png"):
            if not (page := name[5:-4]).isdigit():
                raise HTTPException(404, f"no page {page!r}; pages are page-1.png, page-2.png, …")
            picture = await asyncio.to_thread(self._tray.page_png, number, int(page))
            return Response(picture, media_type="image/png")
        return FileResponse(self._tray.file(number, name))

    async def _snapshot(self, request: Request) -> Response:
        self._check_origin(request)
        with contextlib.ExitStack() as stack:
            path = stack.enter_context(self._tray.scratch(".snapshot"))
            if request.method == "GET":
                await self._machine.save_snapshot(path)
                removal = BackgroundTask(stack.pop_all().close)  # when it has been sent
                return FileResponse(path, media_type="application/zip", background=removal)
            size = 0
            with path.open("wb") as file:
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > MAX_SNAPSHOT:
                        raise HTTPException(413, f"a snapshot has at most {MAX_SNAPSHOT} octets")
                    await asyncio.to_thread(file.write, chunk)
            await self._machine.restore_snapshot(path)
        return JSONResponse(self._machine.status())

    async def _events(self, request: Request) -> Response:
        self._check_origin(request)
        last = request.headers.get("last-event-id") or request.query_params.get("since", "")
        after = int(last) if last.isdigit() else self._machine.events.sequence
        return StreamingResponse(
            self._stream(after), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    async def _stream(self, after: int) -> AsyncIterator[str]:
        """Server-sent events after that sequence number, until the server stops."""
        changed = asyncio.Event()

        def notice(_: Record) -> None:
            changed.set()

        unsubscribe = self._machine.events.subscribe(notice)
        try:
            yield ": listening\n\n"
            while not self._stopping.is_set():
                changed.clear()
                if records := list(self._machine.events.since(after)):
                    after = records[-1].sequence
                    yield "".join(map(_as_sse, records))  # in one write: that the client is gone is known after it
                if not await self._changed_or_stopping(changed):
                    yield ": still here\n\n"
        finally:
            unsubscribe()

    async def _changed_or_stopping(self, changed: asyncio.Event) -> bool:
        waits = [asyncio.ensure_future(changed.wait()), asyncio.ensure_future(self._stopping.wait())]
        try:
            done, _ = await asyncio.wait(waits, timeout=KEEP_ALIVE, return_when=asyncio.FIRST_COMPLETED)
        finally:  # also when the client has gone and this is cancelled
            for wait in waits:
                wait.cancel()
        return bool(done)


class _Connection(H11Protocol):
    """uvicorn's connection with a limit to how many there are, and to how long each may take for its first request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._drop(f"{MAX_CONNECTIONS} connections are open")
        self.loop.call_later(REQUEST_SECONDS, self._check_request)

    def _check_request(self) -> None:
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._drop(f"no request in {REQUEST_SECONDS:g} s")

    def _drop(self, reason: str) -> None:
        log.warning("control: %s dropped: %s", self.client, reason)
        self.transport.abort()


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the command owns SIGINT and SIGTERM."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _as_sse(record: Record) -> str:
    return f"id: {record.sequence}\nevent: {record.event.kind()}\ndata: {json.dumps(record.as_dict())}\n\n"


async def _body(request: Request) -> Mapping[str, object]:
    octets = bytearray()
    async for chunk in request.stream():
        octets += chunk
        if len(octets) > MAX_BODY:
            raise HTTPException(413, f"a request has at most {MAX_BODY} octets")
    try:
        body = json.loads(octets)
    except ValueError as error:
        raise HTTPException(400, f"the request's body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "the request's body must be a JSON object")
    return body


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    close = {"connection": "close"}  # the rest of a body that was refused is not waited for
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=close)


async def _own_error(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=400 if isinstance(error, Misuse | FormatError) else 404)
