"""The wizards on a real terminal: the steps of the manual, with wrong answers on the way."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scripted_machine import ScriptedMachine

from fauxfax.firmware import recipe

PATIENCE = 20.0  # seconds for each answer of the wizard


class Terminal:
    """A program on a pseudo-terminal: `expect` what it says, `type` what a person would."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self._master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
        command = [sys.executable, "-m", "fauxfax_tools", *arguments]
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=environment, start_new_session=True
        )
        os.close(slave)
        self.said = ""

    def expect(self, words: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while words not in self.said:
            assert time.monotonic() < deadline, f"{words!r} was not said, but: {self.said}"
            if select.select([self._master], [], [], 0.1)[0]:
                try:
                    self.said += os.read(self._master, 4096).decode("utf-8", "replace")
                except OSError:  # the program has ended
                    assert words in self.said, self.said
        self.said = self.said.partition(words)[2]

    def type(self, text: str) -> None:
        os.write(self._master, f"{text}\n".encode())

    def end(self) -> int:
        code = self.process.wait(PATIENCE)
        os.close(self._master)
        return code


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    started: list[Terminal] = []

    def begin(*arguments: str) -> Terminal:
        started.append(Terminal(list(arguments), tmp_path))
        return started[-1]

    yield begin
    for terminal in started:
        if terminal.process.poll() is None:
            terminal.process.kill()
            terminal.process.wait()


def test_the_local_tool_asks_step_by_step(
    start: Callable[..., Terminal], machine: Callable[..., ScriptedMachine], code_file: Callable[..., Path]
) -> None:
    target, path = machine(), code_file()
    other = recipe.build(recipe.load_all()["SCN"], "UF-7000")[1]
    path.with_name("A_FILE_FOR_ANOTHER_MODEL.pfc").write_bytes(other)  # is not offered
    wizard = start("local-update")
    wizard.expect("Local Firmware Update Tool (Parallel/USB Port)")
    wizard.expect("Port [1]:")
    wizard.type("6")
    wizard.expect("Which one")
    wizard.type("127.0.0.1:1")
    wizard.expect("no machine answers")
    wizard.expect("Port [1]:")
    wizard.type("6")
    wizard.expect("Which one")
    wizard.type(f"127.0.0.1:{target.port}")
    wizard.expect("UF-8000, EMU0001 (emulated)")
    wizard.expect(f"1  {path.name}")
    wizard.expect("Code files")
    wizard.type("missing.pfc")
    wizard.expect("missing.pfc: No such file")
    wizard.type("1")
    wizard.expect("Firmware Code File selection is completed")
    wizard.expect("Install SC V10200 on UF-8000 EMU0001, which runs SC V10100?")
    wizard.type("y")
    wizard.expect("done, the machine runs SC V10200")
    assert wizard.end() == 0


def test_the_network_tool_shows_every_machine_and_takes_no_for_an_answer(
    start: Callable[..., Terminal], machine: Callable[..., ScriptedMachine], code_file: Callable[..., Path]
) -> None:
    target, _ = machine(), code_file()
    wizard = start("network-update", "--port", str(target.port))
    wizard.expect("Network Firmware Update Tool")
    wizard.expect("Machines")
    wizard.type("127.0.0.9-3")
    wizard.expect("a range goes up")
    wizard.expect("Machines")
    wizard.type("127.0.0.1")
    wizard.expect("SC V10100")
    wizard.expect("Code files")
    wizard.type("1")
    wizard.expect("which runs SC V10100?")
    wizard.type("n")
    wizard.expect("not confirmed, nothing was sent")
    assert wizard.end() == 1
    assert target.offers == []
