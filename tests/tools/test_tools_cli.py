"""The command line: exit codes, sentences, JSON, and what is never imported for a help text."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from scripted_machine import ScriptedMachine

from fauxfax_tools import updater as updater_module
from fauxfax_tools.cli import run
from fauxfax_tools.errors import Exit

StartMachine = Callable[..., ScriptedMachine]
WriteFile = Callable[..., Path]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updater_module, "POLL", 0.005)


@pytest.mark.parametrize("heavy", ["rich", "construct", "PIL", "usb", "serial", "smtplib", "fauxfax.firmware.codefile"])
def test_the_help_text_imports_nothing_heavy(heavy: str) -> None:
    code = "import sys, fauxfax_tools.cli as c; c.run(['--help']); c.run(['network-update', '--help']); "
    done = subprocess.run(
        [sys.executable, "-c", code + f"sys.exit({heavy!r} in sys.modules)"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["network-update", "x.pfc"], Exit.USAGE, "--host is missing"),
        (["local-update", "x.pfc"], Exit.USAGE, "usbip://HOST[:PORT][/BUSID]"),
        (["local-update", "--port", "lpt1", "x.pfc"], Exit.USAGE, "has no scheme"),
        (["local-update", "--port", "tcp://h:99999", "x.pfc"], Exit.USAGE, "expected tcp://HOST[:PORT]"),
        (["local-update", "--port", "usb:zz:1", "x.pfc"], Exit.USAGE, "expected usb:[VID:PID[:SERIAL]]"),
        (["local-update", "--port", "tcp://127.0.0.1"], Exit.USAGE, "FILE is missing"),
        (["network-update", "--host", "h", "missing.pfc"], Exit.USAGE, "missing.pfc: No such file"),
        (["network-update", "--host", "10.0.0.9-3", "FILE"], Exit.USAGE, "a range goes up"),
        (["network-update", "--host", "10.0.0.0/8", "FILE"], Exit.USAGE, "one call takes up to"),
        (["network-update", "--host", "h", "--password", "abc", "FILE"], Exit.USAGE, "is a number"),
        (["network-update", "--bogus"], Exit.USAGE, "--bogus"),
        (["no-such-command"], Exit.USAGE, "no-such-command"),
        (["network-update", "--host", "127.0.0.1", "--port", "1", "FILE"], Exit.NO_MACHINE, "no machine answers"),
        (["probe", "--port", "tcp://127.0.0.1:1"], Exit.NO_MACHINE, "no machine answers"),
        (["probe", "--port", "lp:/dev/no-such-printer"], Exit.NO_MACHINE, "is the machine connected"),
        (["codefile", "verify", "NOISE"], Exit.BAD_FILE, "offset 0"),
        (["network-update", "--host", "h", "NOISE"], Exit.BAD_FILE, "not a code file"),
        (["send-fax", "--to", "nobody", "FILE"], Exit.USAGE, "FAX=+12125551212@example.org"),
        (["codefile", "build", "missing.toml"], Exit.USAGE, "missing.toml"),
    ],
    ids=lambda value: "-".join(value[:2]) if isinstance(value, list) else None,
)
def test_a_mistake_is_a_sentence_and_an_exit_code(
    capsys: pytest.CaptureFixture[str],
    code_file: WriteFile,
    tmp_path: Path,
    arguments: list[str],
    code: Exit,
    words: str,
) -> None:
    noise = tmp_path / "noise.bin"
    noise.write_bytes(bytes(range(256)) * 20)
    places = {"FILE": str(code_file()), "NOISE": str(noise)}
    assert run([places.get(word, word) for word in arguments]) == code
    captured = capsys.readouterr()
    assert words in captured.out + captured.err
    assert "Traceback" not in captured.err


def test_an_update_ends_with_a_sentence_and_0(
    capsys: pytest.CaptureFixture[str], machine: StartMachine, code_file: WriteFile
) -> None:
    assert run(["local-update", "--port", machine().link, str(code_file())]) == Exit.DONE
    assert "done, the machine runs SC V10200" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("script", "code", "result"),
    [
        ({}, Exit.DONE, "updated"),
        ({"refuse": "SC V10200: it fits hardware level 2"}, Exit.REFUSED, "refused"),
        ({"refuse": "busy: the machine prints"}, Exit.BUSY, "busy"),
        ({"model": "UF-7000"}, Exit.REFUSED, "refused"),
    ],
    ids=["updated", "refused", "busy", "wrong model"],
)
def test_json_is_one_object_a_line_with_phase_done_total_and_result(
    capsys: pytest.CaptureFixture[str],
    machine: StartMachine,
    code_file: WriteFile,
    script: dict[str, str],
    code: Exit,
    result: str,
) -> None:
    target = machine(**script)
    arguments = ["network-update", "--host", "127.0.0.1", "--port", str(target.port), "--json", str(code_file())]
    assert run(arguments) == code
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all({"phase", "done", "total", "result"} <= line.keys() for line in lines)
    assert [line["percent"] for line in lines] == sorted(line["percent"] for line in lines)
    assert lines[-1]["result"] == result
    assert lines[-1]["exit"] == code


def test_a_bad_code_file_is_json_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "noise.pfc"
    path.write_bytes(b"noise")
    assert run(["network-update", "--host", "h", "--json", str(path)]) == Exit.BAD_FILE
    last = json.loads(capsys.readouterr().out)
    assert (last["phase"], last["result"], last["exit"]) == ("check", "bad-file", Exit.BAD_FILE)


def test_a_real_machine_is_not_written_to_without_real(
    capsys: pytest.CaptureFixture[str], machine: StartMachine, code_file: WriteFile
) -> None:
    target = machine(serial="KCB7A00123")
    assert run(["local-update", "--yes", "--port", target.link, str(code_file())]) == Exit.REFUSED
    assert "UF-8000 KCB7A00123, which runs SC V10100: it does not identify itself as emulated; pass --real" in (
        capsys.readouterr().out
    )
    assert target.offers == []


def test_a_real_machine_is_not_written_to_without_a_question(
    capsys: pytest.CaptureFixture[str], machine: StartMachine, code_file: WriteFile
) -> None:
    target = machine(serial="KCB7A00123")
    assert run(["local-update", "--real", "--port", target.link, str(code_file())]) == Exit.REFUSED
    assert "after a question only" in capsys.readouterr().out
    assert target.offers == []
    assert run(["local-update", "--real", "--yes", "--port", target.link, str(code_file())]) == Exit.DONE


def test_several_files_go_in_order_and_the_report_names_each(
    capsys: pytest.CaptureFixture[str], machine: StartMachine, code_file: WriteFile
) -> None:
    target = machine()
    first, second = code_file("V10200"), code_file("V10300")
    assert run(["local-update", "--port", target.link, str(first), str(second)]) == Exit.DONE
    assert target.script.firmware["SC"][0] == "V10300"
    assert "Report: 2 of 2 done" in capsys.readouterr().out


def test_a_machine_that_fails_does_not_keep_the_others_from_their_update(
    capsys: pytest.CaptureFixture[str], machine: StartMachine, code_file: WriteFile
) -> None:
    good = machine()
    hosts = ["--host", "127.0.0.2", "--host", "127.0.0.1"]
    assert run(["network-update", *hosts, "--port", str(good.port), str(code_file())]) == Exit.NO_MACHINE
    assert good.script.firmware["SC"][0] == "V10200"
    assert "Report: 1 of 2 done" in capsys.readouterr().out


def test_an_unknown_fault_of_the_program_is_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, code_file: WriteFile
) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_: 1 / 0)
    assert run(["probe", "--port", "tcp://127.0.0.1"]) == Exit.REFUSED
    assert "a fault of this program: ZeroDivisionError" in capsys.readouterr().err
