"""The tools against the machine itself, in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from fauxfax.firmware import recipe
from fauxfax.testing import MachineProcess
from fauxfax_tools.cli import run
from fauxfax_tools.errors import Exit

Build = Callable[[str, str], Path]


@pytest.fixture(scope="module")
def uf8000(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MachineProcess]:
    machine = MachineProcess(tmp_path_factory.mktemp("uf8000") / "state").start()
    yield machine
    machine.stop()


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build a code file by its recipe's name and version, each once."""
    place = tmp_path_factory.mktemp("codefiles")

    def built(name: str, version: str, model: str = "UF-8000") -> Path:
        file_name, data = recipe.build(recipe.load(recipe.folder() / f"{name}.toml"), model, version)
        path = place / file_name
        path.write_bytes(data)
        return path

    return built


def link(machine: MachineProcess) -> str:
    return f"tcp://127.0.0.1:{machine.ports['raw']}"


def test_an_update_and_the_way_back(uf8000: MachineProcess, build: Build, capsys: pytest.CaptureFixture[str]) -> None:
    new, old = build("sc", "V10200"), build("sc", "V10100")
    assert run(["local-update", "--port", link(uf8000), str(new)]) == Exit.DONE
    assert uf8000.status()["firmware"]["SC"] == "V10200"
    assert run(["local-update", "--port", link(uf8000), str(old)]) == Exit.REFUSED
    assert "this would be a downgrade, the machine has V10200" in capsys.readouterr().out
    assert run(["local-update", "--port", link(uf8000), "--force-downgrade", str(old)]) == Exit.DONE
    assert uf8000.status()["firmware"]["SC"] == "V10100"


def test_probe_says_who_answers_and_how_the_last_update_ended(
    uf8000: MachineProcess, build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["local-update", "--port", link(uf8000), "--force-downgrade", str(build("pnl", "V10100"))])
    capsys.readouterr()
    assert run(["probe", "--port", link(uf8000), "--json"]) == Exit.DONE
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["emulated"], found["update"]["state"]) == ("UF-8000", True, "RUNNING")
    assert found["firmware"] == uf8000.status()["firmware"]
    assert found["update"]["last"] == uf8000.status()["update"]["last"]


def test_a_set_brings_all_its_components(uf8000: MachineProcess, build: Build) -> None:
    whole = recipe.load(recipe.folder() / "set.toml")
    version = max(whole.versions)
    assert run(["local-update", "--port", link(uf8000), str(build("set", version))]) == Exit.DONE
    running = uf8000.status()["firmware"]
    members = {component.value: member for component, member in whole.versions[version].members.items()}
    assert {name: running[name] for name in members} == members


def test_an_update_over_usbip_follows_the_machine_through_its_restart(
    uf8000: MachineProcess, build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    cable = f"usbip://127.0.0.1:{uf8000.ports['usbip']}"
    assert run(["local-update", "--port", cable, "--force-downgrade", str(build("sc", "V10300"))]) == Exit.DONE
    assert uf8000.status()["firmware"]["SC"] == "V10300"
    capsys.readouterr()
    assert run(["probe", "--port", cable]) == Exit.DONE
    assert "MFG:Panasonic;CMD:PJL,TIFF;MDL:UF-8000;" in capsys.readouterr().out


def test_a_refusal_over_usbip_leaves_the_cable_good_for_the_next_update(
    uf8000: MachineProcess, build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    cable = f"usbip://127.0.0.1:{uf8000.ports['usbip']}"
    assert run(["local-update", "--port", cable, str(build("ec", "V10100"))]) in (Exit.REFUSED, Exit.DONE)
    assert run(["local-update", "--port", cable, "--force-downgrade", str(build("sc", "V10100"))]) == Exit.DONE
    assert run(["local-update", "--port", cable, "--force-downgrade", str(build("sc", "V10300"))]) == Exit.DONE
    assert run(["local-update", "--port", cable, str(build("sc", "V10200"))]) == Exit.REFUSED
    assert "this would be a downgrade, the machine has V10300" in capsys.readouterr().out
    assert run(["local-update", "--port", cable, "--force-downgrade", str(build("sc", "V10200"))]) == Exit.DONE


@pytest.mark.parametrize(("via", "refusal"), [("lpd", "the code file was refused"), ("ftp", "would be a downgrade")])
def test_a_carrier_is_answered_when_the_file_is_installed(
    uf8000: MachineProcess, build: Build, capsys: pytest.CaptureFixture[str], via: str, refusal: str
) -> None:
    run(["local-update", "--port", link(uf8000), "--force-downgrade", str(build("sc", "V10200"))])
    port = ["--port", str(uf8000.ports[via])]
    known = ["--real", "--yes"] if via == "lpd" else []  # LPD has no place for who it is, FTP's login says EMU
    by_carrier = ["network-update", "--host", "127.0.0.1", "--via", via, *port, *known]
    assert run([*by_carrier, str(build("sc", "V10300"))]) == Exit.DONE
    assert uf8000.status()["firmware"]["SC"] == "V10300"
    assert run([*by_carrier, str(build("sc", "V10200"))]) == Exit.REFUSED
    assert refusal in capsys.readouterr().out


def test_ctrl_c_leaves_a_machine_in_a_named_state_and_the_same_command_goes_on(tmp_path: Path, build: Build) -> None:
    machine = MachineProcess(tmp_path / "slow", clock="x100").start()
    try:
        path = build("sc", "V10200")
        command = [sys.executable, "-m", "fauxfax_tools", "local-update", "--json", "--port", link(machine), str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tool:
            assert tool.stdout is not None
            for line in tool.stdout:
                if json.loads(line).get("done", 0) > 1_000_000:
                    tool.send_signal(signal.SIGINT)
                    break
            last = json.loads(tool.stdout.read().splitlines()[-1])
        assert tool.returncode == Exit.INTERRUPTED
        assert last["result"] == "interrupted"
        assert "run the same command again to go on" in last["text"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == Exit.DONE, done.stdout
        assert "going on from there" in done.stdout
        assert machine.status()["firmware"]["SC"] == "V10200"
    finally:
        machine.stop()


def test_a_firmware_that_hangs_on_trial_is_no_success(
    tmp_path: Path, build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = MachineProcess(tmp_path / "dual", ["--set", "update.layout=dual"]).start()
    try:
        machine.arm("boot times=3 -> hang 2")
        assert run(["local-update", "--port", link(machine), str(build("scn", "V10200"))]) == Exit.REFUSED
        assert "it was not confirmed in 3 starts; the firmware before it runs again" in capsys.readouterr().out
        assert machine.status()["firmware"]["SCN"] == "V10100"
        assert run(["local-update", "--port", link(machine), str(build("scn", "V10200"))]) == Exit.DONE
    finally:
        machine.stop()


@pytest.mark.parametrize("layout", ["staged", "dual"])
@pytest.mark.parametrize("point", ["update", "commit", "restart"])
def test_power_lost_while_the_tool_watches_is_waited_for_and_no_success_is_told_before_it_is_one(
    tmp_path: Path, build: Build, layout: str, point: str
) -> None:
    """`restart` lies between the commit record and the restart: all is written, and nothing new runs yet."""
    machine = MachineProcess(tmp_path / layout, ["--set", f"update.layout={layout}"]).start()
    machine.arm(f"{point} times=1 -> cut")
    command = ["local-update", "--json", "--port", link(machine), str(build("scn", "V10200"))]
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "fauxfax_tools", *command], stdout=subprocess.PIPE, text=True
        ) as tool:
            while machine.status()["power"] == "on":
                assert tool.poll() is None, "it ended before the power went"
                time.sleep(0.01)
            time.sleep(0.5)
            assert tool.poll() is None, "nothing runs"
            machine.power("on")
            said, _ = tool.communicate(timeout=60)
        last = json.loads(said.splitlines()[-1])
        assert (tool.returncode, last["result"]) == (Exit.DONE, "updated"), last
        assert machine.status()["firmware"]["SCN"] == "V10200"
    finally:
        machine.stop()


def test_ctrl_c_in_any_phase_names_the_state_and_the_same_command_ends_well(tmp_path: Path, build: Build) -> None:
    machine = MachineProcess(tmp_path / "slow", clock="x10").start()
    where = ["local-update", "--json", "--force-downgrade", "--port", link(machine)]
    try:
        for number, phase in enumerate(("check", "verify", "rewrite", "restart")):
            path = build("scn", "V10100" if number % 2 else "V10200")
            command = [sys.executable, "-m", "fauxfax_tools", *where, str(path)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tool:
                assert tool.stdout is not None
                for line in tool.stdout:
                    if json.loads(line).get("phase") == phase:
                        tool.send_signal(signal.SIGINT)
                        break
                last = json.loads([line, *tool.stdout.read().splitlines()][-1])  # that line may have been the last
            if phase == "restart" and last["result"] == "updated":  # it was over before the signal came
                assert tool.returncode in (Exit.DONE, Exit.INTERRUPTED)
                assert machine.status()["firmware"]["SCN"] == "V10100"
                continue
            assert (tool.returncode, last["result"]) == (Exit.INTERRUPTED, "interrupted"), phase
            assert "run the same command again" in last["text"] or "goes on by itself: leave it on" in last["text"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == Exit.DONE, f"after Ctrl-C in {phase}: {done.stdout}"
    finally:
        machine.stop()


@pytest.mark.parametrize("version", ["V10100", "V10300"], ids=["DATA is 354", "DATA is 250, lock-step"])
def test_a_fax_arrives_as_it_was_sent(uf8000: MachineProcess, build: Build, tmp_path: Path, version: str) -> None:
    run(["local-update", "--port", link(uf8000), "--force-downgrade", str(build("sc", version))])
    text, picture = tmp_path / "letter.txt", tmp_path / "chart.png"
    text.write_text("Dear machine,\n\nthis is a fax.\n")
    Image.linear_gradient("L").resize((400, 500)).save(picture)
    before = len(uf8000.tray())
    address = ["--to", "fax@uf-8000.local", "--via", f"127.0.0.1:{uf8000.ports['smtp']}"]
    assert run(["send-fax", *address, "--from", "me@example.org", str(text), str(picture)]) == Exit.DONE
    uf8000.wait("fax", count=before + 1)
    document = uf8000.tray()[-1]
    assert document["result"] == "R-OK"
    assert len(document["pages"]) == 2
    assert {page["width"] for page in document["pages"]} == {1728}


def test_a_refused_recipient_is_told_with_the_machines_words(
    uf8000: MachineProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "letter.txt"
    text.write_text("hello")
    via = f"127.0.0.1:{uf8000.ports['smtp']}"
    arguments = ["send-fax", "--to", "x@elsewhere.example", "--via", via, "--from", "me@example.org", str(text)]
    assert run(arguments) == Exit.REFUSED
    assert via in (said := capsys.readouterr().err)
    assert "55" in said
