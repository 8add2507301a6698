"""Updates of a whole machine: who may write, when a firmware is confirmed, what a cut tears, and what rules do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from machine_bench import Bench, Make

from code_files import code_file, spoilt
from fauxfax.events import FaultFired, UpdateDeclined, UpdateStateChanged
from fauxfax.firmware import codefile
from fauxfax.firmware.flash import Cut, Kind, Operation
from fauxfax.firmware.loader import TRIAL_STARTS, State
from fauxfax.hostport.usb import Outcome, Setup, Transfer
from fauxfax.hostport.usbdescriptors import BULK_OUT, Speed
from fauxfax.ifax.host import Envelope, MessageReceived
from fauxfax.machine.machine import Machine

PART = "UF-8000 SCN V10200"
OLD, NEW = "V10100", "V10200"


def fax(machine: Machine) -> int:
    """A message that waits in the image memory."""
    envelope = Envelope(session=1, peer="127.0.0.1", helo="h", sender="a@b.example", recipients=(), received_at=0.0)
    return machine.memory.keep(MessageReceived(envelope, (b"Subject: x\r\n\r\nhello\r\n",)))


# Confirming ----------------------------------------------------------------------------------------------------


def test_a_firmware_on_trial_is_confirmed_once_it_has_stayed_up(bench: Make) -> None:
    pc = bench("dual")
    pc.send(code_file(PART))
    pc.until(State.RUNNING)
    assert pc.machine.updates.loader.boot().on_trial
    pc = bench("dual")
    pc.send(code_file(PART))
    assert pc.ready() == NEW
    for _ in range(TRIAL_STARTS + 1):
        pc.cycle(cut=True)
        assert pc.machine.versions["SCN"] == NEW


def test_a_firmware_that_boots_and_never_stays_up_gives_way_to_the_one_before(bench: Make) -> None:
    pc = bench("dual")
    pc.send(code_file(PART))
    pc.until(State.RESTARTING)
    pc.until(State.RUNNING)
    seen = [pc.machine.versions["SCN"]]
    for _ in range(TRIAL_STARTS):
        pc.clock.advance(pc.machine.model.timing.trial * 0.9)
        pc.cycle(cut=True)
        seen.append(pc.machine.versions["SCN"])
    assert seen == [NEW] * TRIAL_STARTS + [OLD]
    assert "not confirmed in 3 starts" in pc.asked()["LASTREASON"]
    pc.cycle(cut=True)
    (line,) = [line for line in pc.machine.journal.read() if line.result == "GIVEN UP"]
    assert line.note == f"SCN {NEW}: it was not confirmed in 3 starts; the firmware before it runs again"
    pc.send(code_file(PART), pc.machine.open_port("raw"))
    assert pc.ready() == NEW


# Declined before the loader heard of it ------------------------------------------------------------------------


def offer(size: int, password: str = "") -> bytes:
    job = f"@PJL JOB PASSWORD={password}\r\n" if password else ""
    return f"\x1b%-12345X{job}@PJL UPGRADE SIZE={size}\r\n".encode()


@pytest.mark.parametrize(
    ("password", "prepare", "size", "reason"),
    [
        ("", lambda pc: None, 10**9, "no code file for this machine"),
        ("4711", lambda pc: None, 1000, "service password: wrong or missing"),
        ("", lambda pc: fax(pc.machine), 1000, "busy: receiving"),
    ],
    ids=["size", "password", "busy"],
)
def test_why_an_offer_was_declined_is_read_afterwards_on_the_panel_and_after_a_power_cut(
    bench: Make, password: str, prepare: Callable[[Bench], object], size: int, reason: str
) -> None:
    pc = bench(password=password)
    before = pc.machine.updates.loader.flash.operations
    prepare(pc)
    pc.port.write(offer(size))
    assert reason in pc.asked()["LASTREASON"]
    assert pc.machine.updates.loader.flash.operations == before, "refused before the first erase"
    assert pc.machine.since_start["updates"] == 1
    pc.cycle(cut=True)
    assert reason in pc.asked()["LASTREASON"]
    assert reason in pc.machine.journal.read()[-1].note


def test_the_panel_says_that_an_update_failed_until_a_key_or_its_time(bench: Make) -> None:
    pc = bench()
    pc.port.write(offer(10**9))
    assert pc.machine.panel.lines[1] == "UPDATE FAILED"
    pc.clock.advance(pc.machine.model.timing.notice + 0.1)
    assert pc.machine.panel.lines[1] == "READY"
    pc.send(spoilt(code_file(PART), 100_000), pc.machine.open_port("raw"))
    pc.until(State.RUNNING)
    assert pc.machine.panel.lines[1] == "UPDATE FAILED"
    pc.machine.press(["CLEAR"])
    assert pc.machine.panel.lines[1] == "READY"


def test_a_declined_offer_never_hides_the_update_under_way_and_is_forgotten_with_the_next(bench: Make) -> None:
    pc = bench()
    pc.port.write(offer(10**9))
    pc.send(code_file(PART)[:100_000], pc.machine.open_port("raw"))
    pc.clock.advance(2)
    pc.machine.open_port("lpd").write(offer(1000))
    pc.cycle(cut=True)
    assert pc.asked()["LASTREASON"] == "interrupted while receiving"


def test_a_flood_of_wrong_passwords_fills_neither_the_journal_nor_the_flash(bench: Make) -> None:
    pc = bench(password="4711")
    for _ in range(50):
        pc.machine.open_port("raw").write(offer(1000, "1234"))
    assert len(pc.machine.journal.read()) == 2, "wrong, then locked"
    pc.machine.open_port("raw").write(offer(1000, "4711"))
    assert "locked" in pc.asked()["LASTREASON"]
    pc.clock.advance(301)
    pc.send(
        code_file(PART).replace(b"@PJL UPGRADE", b"@PJL JOB PASSWORD=4711\r\n@PJL UPGRADE"), pc.machine.open_port("raw")
    )
    assert pc.ready() == NEW


@pytest.mark.parametrize("spoil", [True, False], ids=["a damaged block", "the same version"])
def test_why_a_code_file_is_refused_is_told_in_the_moment_it_is_and_stands_in_the_journal(
    bench: Make, spoil: bool
) -> None:
    pc = bench()
    pc.port.write(b"\x1b%-12345X@PJL USTATUS DEVICE=VERBOSE\r\n")
    pc.send(spoilt(code_file(PART), 100_000) if spoil else code_file("UF-8000 SCN V10100"))
    pc.until(State.REFUSED)
    reason = "is damaged" if spoil else "has this version already"
    assert reason in pc.port.read(1 << 20).decode().rpartition("STATE=REFUSED")[2], "not only when it is written down"
    assert reason in pc.asked()["LASTREASON"]
    pc.until(State.RUNNING)
    last = pc.machine.journal.read()[-1]
    assert (last.kind, last.peer, last.result) == ("UPD", "raw", "REFUSED")
    assert reason in last.note


def test_an_update_by_force_is_in_the_journal_and_in_the_last_attempt_after_a_power_cut(bench: Make) -> None:
    pc = bench()
    pc.send(code_file(PART))
    assert pc.ready() == NEW
    assert pc.asked()["LASTFORCED"] == "OFF"
    older = code_file("UF-8000 SCN V10100").replace(b"@PJL UPGRADE", b"@PJL UPGRADE FORCE=ON")
    pc.send(older, pc.machine.open_port("raw"))
    assert pc.ready() == OLD
    pc.cycle(cut=True)
    assert pc.asked()["LASTFORCED"] == "ON"
    lines = [(entry.result, "force" in entry.note) for entry in pc.machine.journal.read()]
    assert lines == [("TAKEN", False), ("INSTALLED", False), ("TAKEN", True), ("INSTALLED", True)]


# One owner -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("occupy", "reason"),
    [
        (lambda pc: fax(pc.machine), "busy: receiving"),
        (lambda pc: setattr(pc.machine, "receiving", lambda: True), "busy: receiving"),
        (lambda pc: pc.machine.decoded(fax(pc.machine), [297.0]), "busy: printing"),
        (lambda pc: pc.send(code_file(PART)[:60_000], pc.machine.open_port("usb")), "busy: another update"),
        (
            lambda pc: (pc.send(code_file(PART), pc.machine.open_port("usb")), pc.until(State.REWRITING)),
            "another update",
        ),
    ],
    ids=["fax in memory", "inside DATA", "printing", "another writer", "rewriting"],
)
def test_a_second_writer_is_told_busy_and_why_and_disturbs_nothing(
    bench: Make, occupy: Callable[[Bench], object], reason: str
) -> None:
    pc = bench()
    occupy(pc)
    state = pc.machine.updates.loader.status()
    pc.port.write(b"\x1b%-12345X@PJL USTATUS DEVICE=ON\r\n")
    pc.port.read(65536)
    pc.send(code_file(PART))
    assert reason in pc.port.read(65536).decode()
    assert pc.machine.updates.loader.status().received == state.received


def test_the_end_of_one_cable_ends_no_other_ones_job(bench: Make) -> None:
    pc = bench()
    first, second = pc.machine.open_port("usb"), pc.machine.open_port("usb")
    pc.send(code_file(PART)[:60_000], first)
    second.write(b"\x1b%-12345X@PJL INFO ID\r\n")
    second.end()
    assert pc.machine.updates.owns(first)
    pc.send(code_file(PART)[60_000:], first)
    assert pc.ready() == NEW


def test_a_sender_that_stops_is_waited_for_with_a_deadline_and_a_parked_one_is_not_blamed(bench: Make) -> None:
    pc = bench()
    pc.send(code_file(PART)[:100_000])
    pc.clock.advance(119)
    assert pc.machine.updates.owns(pc.port)
    pc.clock.advance(2)
    assert not pc.machine.updates.active
    assert pc.asked()["LASTREASON"].startswith("the sender stalled after 99")
    pc.machine.faults.arm("update -> delay 500")  # the machine itself has no room for eight minutes
    other, data = pc.machine.open_port("raw"), code_file(PART)
    while room := other.room:
        other.write(data[:room])
        data = data[room:]
    pc.clock.advance(400)
    assert pc.machine.updates.owns(other), "it cannot send: the machine is busy"


# Power cuts in flight, and rules -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.ERASE, Kind.PROGRAM])
@pytest.mark.parametrize("layout", ["staged", "dual"])
def test_a_power_cut_tears_the_operation_under_way(bench: Make, layout: str, kind: Kind) -> None:
    pc = bench(layout)
    flash = pc.machine.updates.loader.flash
    hook, seen = flash.hook, []
    flash.hook = lambda operation: (seen.append(operation), hook(operation))[1]
    pc.send(code_file(PART)[:150_000])
    while not (seen and seen[-1].kind is kind and seen[-1].size == max(each.size for each in seen)):
        pc.clock.advance(0.01)
    operation = seen[-1]
    timing = pc.machine.model.timing
    takes = timing.erase_sector if kind is Kind.ERASE else operation.size * timing.program_octet
    pc.clock.advance(takes * 0.3)
    assert seen[-1] is operation
    pc.machine.power_off(cut=True)
    cells = flash.storage.read(operation.address, operation.size)
    if kind is Kind.PROGRAM:
        assert cells[:100] == operation.data[:100]
        assert cells[-100:] == b"\xff" * 100
    else:
        assert cells[:100] == b"\xff" * 100
    pc.cycle()
    pc.send(code_file(PART), pc.machine.open_port("raw"))
    assert pc.ready() == NEW


@pytest.mark.parametrize("layout", ["staged", "dual"])
@pytest.mark.parametrize(
    "rule", [f"{p} -> {a}" for p in ("update", "commit", "restart") for a in ("cut", "drop", "delay 40")]
)
def test_rules_befall_the_offer_the_commit_and_the_restart_and_nothing_is_lost(
    bench: Make, layout: str, rule: str
) -> None:
    pc = bench(layout)
    pc.machine.faults.arm(f"{rule.split(' -> ')[0]} times=1 -> {rule.split(' -> ')[1]}")
    pc.send(code_file(PART))
    pc.clock.advance(200)
    fired = [record.event for record in pc.machine.events.since(0) if isinstance(record.event, FaultFired)]
    assert len(fired) == 1
    if "cut" in rule:
        assert pc.machine.power == "off"
        pc.cycle()
    if pc.ready() != NEW:
        pc.send(code_file(PART), pc.machine.open_port("raw"))
    assert pc.ready() == NEW
    assert pc.machine.state == "ready"


def restarted_after(pc: Bench, *rules: str) -> float:
    for rule in rules:
        pc.machine.faults.arm(rule)
    pc.send(code_file(PART))
    pc.until(State.RESTARTING)
    start = pc.clock.now
    while pc.machine.state != "ready":
        assert pc.machine.state in ("updating", "starting")
        pc.clock.advance(0.1)
    return pc.clock.now - start


def test_a_restart_that_comes_late_or_never_is_waited_for_and_ended_by_the_watchdog(bench: Make) -> None:
    normal = restarted_after(bench())
    late = restarted_after(bench(), "restart -> delay 12")
    never = restarted_after(bench(), "restart -> drop")
    watchdog = bench().machine.model.timing.watchdog
    assert (late - normal, never - normal) == (pytest.approx(12, abs=0.3), pytest.approx(watchdog, abs=0.3))


@pytest.mark.parametrize("state", [State.CHECKING, State.REWRITING, State.VERIFYING])
def test_a_restart_that_comes_too_early_is_finished_or_undone(bench: Make, state: State) -> None:
    pc = bench()
    pc.send(code_file(PART))
    pc.until(state)
    pc.cycle()
    if pc.ready() != NEW:
        assert state is State.CHECKING
        pc.send(code_file(PART), pc.machine.open_port("raw"))
    assert pc.ready() == NEW


def test_events_say_that_an_offer_was_declined_and_by_which_way_in(bench: Make) -> None:
    pc = bench()
    pc.port.write(offer(10**9))
    events = [record.event for record in pc.machine.events.since(0)]
    declined = [event for event in events if isinstance(event, UpdateDeclined)]
    assert [(event.way, "no code file" in event.reason) for event in declined] == [("raw", True)]
    assert not [event for event in events if isinstance(event, UpdateStateChanged) and event.state == "RECEIVING"]


# A host on the USB cable that is slow, stalls, resets ----------------------------------------------------------


class UsbHost:
    """A PC on a USB cable that hands over one transfer at a time."""

    def __init__(self, pc: Bench) -> None:
        self.pc = pc
        self.device = pc.machine.open_usb(Speed.HIGH)
        self.configure()

    def configure(self) -> None:
        assert self.device.control(Setup(0x00, 9, 1, 0, 0)) == b""

    def out(self, data: bytes) -> Outcome | None:
        transfer = Transfer(BULK_OUT, data, len(data), lambda _: None)
        self.device.submit(transfer)
        for _ in range(1000):
            if transfer.outcome is not None:
                break
            self.pc.clock.advance(0.1)
        return transfer.outcome

    def send(self, data: bytes, size: int = 16384, pause: float = 0.0) -> list[Outcome | None]:
        outcomes = []
        for at in range(0, len(data), size):
            outcomes.append(self.out(data[at : at + size]))
            self.pc.clock.advance(pause)
        return outcomes


@pytest.mark.parametrize(
    ("size", "pause"),
    [(16384, 2.0), (509, 0.0), (512, 0.0), (100_000, 0.0)],
    ids=["slow", "short packets", "exact packets", "long"],
)
def test_an_update_over_usb_passes_whatever_the_hosts_pace_and_packets(bench: Make, size: int, pause: float) -> None:
    host = UsbHost(pc := bench())
    assert set(host.send(code_file(PART), size, pause)) == {Outcome.DONE}
    assert pc.ready() == NEW


def test_zero_length_packets_mean_nothing(bench: Make) -> None:
    host, data = UsbHost(pc := bench()), code_file(PART)
    for at in range(0, len(data), 60_000):
        assert host.out(data[at : at + 60_000]) is Outcome.DONE
        assert host.out(b"") is Outcome.DONE
    assert pc.ready() == NEW


def test_a_bus_reset_ends_the_job_and_it_goes_on_where_the_stored_octets_end(bench: Make) -> None:
    host, data = UsbHost(pc := bench()), code_file(PART)
    host.send(data[:200_000])
    host.device.reset()
    assert pc.machine.updates.last is not None
    pc.clock.advance(5)
    found = pc.asked()
    assert found["LASTREASON"].startswith("the connection was lost after")
    host.configure()
    start, size, _ = codefile.container_at(data)
    container, offset = data[start : start + size], int(found["NEXT"])
    assert hashlib.sha256(container[:offset]).hexdigest() == found["SHA256"]
    host.send(f"\x1b%-12345X@PJL UPGRADE SIZE={size} OFFSET={offset} SHA256={found['SHA256']}\r\n".encode())
    host.send(container[offset:])
    assert pc.ready() == NEW


def test_a_halted_endpoint_stalls_and_goes_on_where_it_was_when_cleared(bench: Make) -> None:
    host, data = UsbHost(pc := bench()), code_file(PART)
    host.send(data[:100_000])
    assert host.device.control(Setup(0x02, 3, 0, BULK_OUT, 0)) == b""
    assert host.out(data[100_000:110_000]) is Outcome.STALLED
    assert host.device.control(Setup(0x02, 1, 0, BULK_OUT, 0)) == b""
    host.send(data[100_000:])
    assert pc.ready() == NEW


def test_a_host_that_stalls_on_usb_loses_its_turn_and_the_next_update_passes(bench: Make) -> None:
    host, data = UsbHost(pc := bench()), code_file(PART)
    host.send(data[:100_000])
    pc.clock.advance(130)
    assert pc.asked()["LASTREASON"].startswith("the sender stalled")
    host.send(data[100_000:])  # what it still had to say is let pass
    pc.clock.advance(10)
    assert pc.machine.versions["SCN"] == OLD
    host.send(data)
    assert pc.ready() == NEW


# Time ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["staged", "dual"])
def test_an_update_takes_the_time_its_cells_take(bench: Make, layout: str) -> None:
    pc = bench(layout)
    flash, timing, total = pc.machine.updates.loader.flash, pc.machine.model.timing, [0.0]
    hook = flash.hook

    def count(operation: Operation) -> Cut | None:
        erase = timing.erase_sector * operation.size / 65536
        total[0] += erase if operation.kind is Kind.ERASE else timing.program_octet * operation.size
        return hook(operation)

    flash.hook, start = count, pc.clock.now
    pc.send(code_file(PART))
    pc.until(State.RESTARTING)
    took, reads = pc.clock.now - start, 3 * 262_144 * timing.read_octet
    assert took == pytest.approx(total[0] + reads, rel=0.05)
