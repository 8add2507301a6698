"""A process of QEMU: its serial line, which a test types on and reads, and its monitor (QMP)."""

from __future__ import annotations

import contextlib
import json
import queue
import re
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

PROGRAM = "qemu-system-x86_64"
MONITOR_SECONDS = 20.0


class MonitorError(Exception):
    """QEMU refuses a command of its monitor, or is gone."""


class QemuProcess:
    """One QEMU: started on entry, killed on exit.

    Args:
        arguments: of QEMU, but for those of the serial line and the monitor.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self._lines: queue.Queue[str | None] = queue.Queue()

    def __enter__(self) -> QemuProcess:
        self._monitor, theirs = socket.socketpair()
        self._monitor.settimeout(MONITOR_SECONDS)
        self._replies = self._monitor.makefile("r", encoding="utf-8")
        with theirs:
            self._process = subprocess.Popen(
                [
                    PROGRAM, *self._arguments, "-serial", "stdio",
                    "-chardev", f"socket,id=monitor,fd={theirs.fileno()}", "-mon", "chardev=monitor,mode=control",
                ],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                pass_fds=[theirs.fileno()],
            )  # fmt: skip
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self.ask("qmp_capabilities")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._replies, self._monitor):
            with contextlib.suppress(OSError):
                stream and stream.close()

    def ask(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """One command of QMP. Returns what it returns; raises MonitorError."""
        question = json.dumps({"execute": command, "arguments": dict(arguments or {})})
        try:
            self._monitor.sendall(question.encode())
            for line in self._replies:
                said = json.loads(line)  # the greeting and events are passed over
                if "error" in said:
                    raise MonitorError(f"{command}: {said['error']['desc']}")
                if "return" in said:
                    return said["return"]
        except OSError as error:
            raise MonitorError(f"{command}: {error}; {self._last_words()}") from error
        raise MonitorError(f"{command}: {self._last_words()}")

    def type(self, line: str) -> None:
        """Type a line."""
        assert "\n" not in line
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def read_until(self, pattern: str, seconds: float) -> tuple[list[str], str]:
        """The lines up to one that is the pattern, and that line."""
        end, lines = time.monotonic() + seconds, []
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"the guest did not say {pattern!r} in {seconds:g} s, but: {lines}") from None
            if line is None:
                raise AssertionError(f"the guest ended; its last words: {lines[-20:]}")
            if re.fullmatch(pattern, line):
                return lines, line
            lines.append(line)

    def _last_words(self) -> str:
        self._process.kill()
        return f"QEMU ended, its last words: {list(iter(self._lines.get, None))[-20:]}"

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError, OSError):  # closed under our hands
            for line in self._process.stdout:
                self._lines.put(line.rstrip("\r\n"))
        self._lines.put(None)
