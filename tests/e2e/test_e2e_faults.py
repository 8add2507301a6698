"""Every fault, armed in every way there is, does what it says, and tells that it fired."""

from __future__ import annotations

import json
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from fauxfax.testing import MachineProcess

Start = Callable[..., MachineProcess]
Arm = Callable[[Start, str], MachineProcess]
HURRY = 0.4
"""Seconds in which a machine that nothing holds up has long answered."""


def by_config(start: Start, rule: str) -> MachineProcess:
    return start("--set", f"machine.faults=[{json.dumps(rule)}]")


def by_command(start: Start, rule: str) -> MachineProcess:
    machine = start()
    subprocess.run(
        [sys.executable, "-m", "fauxfax", "fault", "arm", rule, "--url", machine.url], check=True, timeout=30
    )
    return machine


def by_api(start: Start, rule: str) -> MachineProcess:
    machine = start()
    machine.arm(rule)
    return machine


@pytest.mark.parametrize("arm", [by_config, by_command, by_api], ids=["config", "command line", "API"])
def test_a_rule_can_be_armed_in_every_way_and_tells_that_it_fired(start: Start, arm: Arm) -> None:
    rule = "rcpt recipient=fax@* nth=1 -> reply 451 try later"
    machine = arm(start, rule)
    assert send(machine) == 451
    check_fired(machine, rule)
    assert send(machine) == 250


def send(machine: MachineProcess, timeout: float = 20) -> int:
    """The last reply a sender hears of one message; 0 if the connection is lost first, -1 if it hears nothing."""
    try:
        with smtplib.SMTP("127.0.0.1", machine.ports["smtp"], timeout=timeout) as smtp:
            smtp.sendmail("me@example.org", "fax@uf-8000.local", b"Subject: x\r\n\r\n" + b"text\r\n" * 500)
    except smtplib.SMTPRecipientsRefused as error:
        return next(iter(error.recipients.values()))[0]
    except smtplib.SMTPResponseException as error:
        return error.smtp_code
    except TimeoutError:
        return -1
    except (smtplib.SMTPServerDisconnected, OSError) as error:
        return -1 if isinstance(error.__context__, TimeoutError) else 0
    return 250


def check_fired(machine: MachineProcess, rule: str) -> None:
    (listed,) = machine.client.get("/v1/faults")
    assert (listed["rule"], listed["fired"]) == (rule, 1)
    shown = [sys.executable, "-m", "fauxfax", "fault", "list", "--json", "--url", machine.url]
    (told,) = json.loads(subprocess.run(shown, capture_output=True, check=True, timeout=30).stdout)
    assert told == listed
    events = [event for event in machine.client.events(0, 1.0) if event["event"] == "fault-fired"]
    assert [(event["rule"], event["point"]) for event in events] == [(rule, rule.split()[0])]


@pytest.mark.parametrize(
    ("rule", "heard"),
    [
        ("dot times=1 -> drop", 0),
        ("data times=1 -> close-after 100", 0),
        ("mail times=1 -> stall", -1),
        ("dot times=1 -> memory-full", 452),
    ],
    ids=["drop", "close-after", "stall", "memory-full"],
)
def test_a_fault_in_the_dialogue_is_heard_once_and_leaves_nothing(start: Start, rule: str, heard: int) -> None:
    machine = by_api(start, rule)
    assert send(machine, timeout=1 if heard == -1 else 20) == heard
    check_fired(machine, rule)
    assert send(machine) == 250
    machine.wait("fax")
    assert len(machine.tray()) == 1


def test_a_delay_takes_machine_time(start: Start) -> None:
    machine = start(clock="manual")
    machine.arm("dot times=1 -> delay 30")
    assert send(machine, timeout=HURRY) == -1
    check_fired(machine, "dot times=1 -> delay 30")
    began = time.monotonic()
    assert send(machine) == 250
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ("page nth=1 -> paper-out", "paper-out"),
        ("page nth=1 -> jam", "jam"),
        ("page nth=1 -> cover-open", "cover-open"),
        ("dot nth=1 -> paper-out", "paper-out"),
        ("document recipient=fax@* nth=1 -> jam", "jam"),
    ],
    ids=["paper-out", "jam", "cover-open", "paper-out at the dot", "jam when it is ready for paper"],
)
def test_a_fault_of_the_body_keeps_the_fax_until_a_person_helps(start: Start, rule: str, error: str) -> None:
    machine = by_api(start, rule)
    assert send(machine) == 250
    end = time.monotonic() + 10
    while machine.status()["errors"] != [error]:
        assert time.monotonic() < end, machine.status()
        time.sleep(0.02)
    check_fired(machine, rule)
    assert machine.tray() == []
    machine.client.post("/v1/panel/keys", {"keys": ["CLEAR"]})
    machine.wait("fax")


def test_a_cut_at_the_dot_takes_the_message_that_nobody_acknowledged(start: Start) -> None:
    rule = "dot nth=1 -> cut"
    machine = by_api(start, rule)
    assert send(machine) == 0
    check_fired(machine, rule)
    assert machine.status()["power"] == "off"
    with socket.create_connection(("127.0.0.1", machine.ports["smtp"]), timeout=5) as peer:
        assert peer.recv(100) == b""
    machine.power("on")
    machine.wait("panel=READY")
    assert send(machine) == 250
    machine.wait("fax")
    assert len(machine.tray()) == 1


@pytest.mark.parametrize("rule", ["document nth=1 -> cut", "page nth=2 -> cut"], ids=["before paper", "at page 2"])
def test_a_cut_while_a_fax_is_printed_prints_it_once_when_the_power_is_back(start: Start, rule: str) -> None:
    machine = by_api(start, rule)
    assert send(machine) == 250  # 500 lines of text are ten pages
    end = time.monotonic() + 10
    while machine.status()["power"] == "on":
        assert time.monotonic() < end, machine.status()
        time.sleep(0.02)
    check_fired(machine, rule)
    assert machine.tray() == []
    machine.power("on")
    machine.wait("fax")
    assert [document["result"] for document in machine.tray()] == ["R-OK"]
    printed = [event["page"] for event in machine.client.events(0, 1.0) if event["event"] == "page-printed"]
    assert printed == list(range(1, len(printed) + 1)), "no page twice"
