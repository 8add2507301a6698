"""An update by mail: instruction, lamp, the operator's key, request, program; and never from a stranger."""

from __future__ import annotations

from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage

import pytest
from machine_bench import Bench, Make

from code_files import code_file, spoilt
from fauxfax.ifax.host import Envelope, MessageReceived
from fauxfax.ifax.receipt import Mail
from fauxfax.machine.mailupdate import INSTRUCTION, MailUpdate

PART = "UF-8000 SCN V10200"
CENTRE = "service@centre.example"


class Office:
    """The service centre, and the machine with its operator."""

    def __init__(self, bench: Make) -> None:
        self.pc: Bench = bench(password="4711")
        self.machine = self.pc.machine
        self.requests: list[Mail] = []
        self.machine.mail_update = MailUpdate(self.machine, lambda document, kind, mail: self.requests.append(mail))

    def mail(self, data: bytes, sender: str = CENTRE) -> None:
        """As the receiver hands a mail over."""
        self.machine.accepted([self.store(data, sender)])

    def store(self, data: bytes, sender: str = CENTRE) -> int:
        """What the receiver does before the machine hears of it."""
        envelope = Envelope(session=1, peer="192.0.2.1", helo="h", sender=sender, recipients=(), received_at=0.0)
        data = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        return self.machine.memory.keep(MessageReceived(envelope, (data,)))

    def instruct(self, password: str = "4711", sender: str = CENTRE) -> None:
        self.mail(f"From: {CENTRE}\nSubject: {INSTRUCTION}\n\nPASSWORD={password}\n".encode(), sender)

    def answer(self, program: bytes, in_reply_to: str | None = None) -> None:
        self.mail(self.program_mail(program, in_reply_to))

    def program_mail(self, program: bytes, in_reply_to: str | None = None) -> bytes:
        request = message_from_bytes(self.requests[-1].data)
        mail = EmailMessage()
        mail["From"], mail["Subject"] = CENTRE, "Re: firmware"
        mail["In-Reply-To"] = in_reply_to or request["Message-Id"]
        mail.set_content("the program is attached")
        mail.add_attachment(program, maintype="application", subtype="octet-stream", filename="scn.pfc")
        return mail.as_bytes()


@pytest.fixture
def office(bench: Make) -> Office:
    return Office(bench)


def test_instruction_lamp_key_request_and_the_program_that_comes_back_is_installed(office: Office) -> None:
    office.instruct()
    assert "UPDATE" in office.machine.panel.lamps
    assert office.machine.panel.lines[1] == "UPDATE? PRESS SET"
    assert not office.requests, "nothing is asked for before the operator says so"
    office.machine.press(["SET"])
    [request] = office.requests
    assert request.recipient == CENTRE
    assert b"SCN=V10100" in request.data
    assert "UPDATE" not in office.machine.panel.lamps
    office.answer(code_file(PART))
    assert office.pc.ready() == "V10200"
    assert not office.machine.memory.documents, "none of these mails is printed"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda office: office.instruct("4712"),
        lambda office: office.mail(f"Subject: {INSTRUCTION}\n\nplease update\n".encode()),
        lambda office: office.instruct(sender=""),
    ],
    ids=["wrong password", "no password", "nobody to ask"],
)
def test_a_strangers_instruction_lights_no_lamp_and_the_journal_says_why(
    office: Office, spoil: Callable[[Office], None]
) -> None:
    spoil(office)
    assert "UPDATE" not in office.machine.panel.lamps
    office.machine.press(["SET"])
    assert not office.requests
    assert office.machine.journal.read()[-1].result == "DECLINED"


def test_guessing_passwords_by_mail_locks_the_desk_as_on_any_way_in(office: Office) -> None:
    for guess in range(6):
        office.instruct(str(guess))
    office.instruct("4711")
    assert "UPDATE" not in office.machine.panel.lamps
    assert "locked" in office.machine.journal.read()[-1].note


def test_a_program_that_nobody_asked_for_is_a_mail_like_any_other(office: Office) -> None:
    office.instruct()
    office.machine.press(["SET"])
    office.answer(code_file(PART), in_reply_to="<0123456789@uf-8000.local>")
    assert office.machine.memory.documents == 1, "it waits to be printed"
    assert office.pc.ready() == "V10100"


@pytest.mark.parametrize(
    ("program", "reason"), [(spoilt(code_file(PART), 100_000), "damaged"), (b"no code file", "no code file attached")]
)
def test_a_bad_program_is_refused_and_the_next_instruction_passes(office: Office, program: bytes, reason: str) -> None:
    office.instruct()
    office.machine.press(["SET"])
    office.answer(program)
    assert office.pc.ready() == "V10100"
    assert reason in office.pc.asked()["LASTREASON"]
    office.instruct()
    office.machine.press(["SET"])
    office.answer(code_file(PART))
    assert office.pc.ready() == "V10200"


def test_stop_and_a_power_cut_forget_the_instruction(office: Office) -> None:
    office.instruct()
    office.machine.press(["STOP", "SET"])
    office.instruct()
    office.pc.cycle(cut=True)
    office.machine.press(["SET"])
    assert not office.requests


def test_an_instruction_stored_before_the_power_went_and_not_yet_noticed_is_noticed_at_the_next_start(
    office: Office,
) -> None:
    office.store(f"Subject: {INSTRUCTION}\n\nPASSWORD=4711\n".encode())
    office.pc.cycle(cut=True)
    assert office.machine.panel.lines[1] == "UPDATE? PRESS SET"
    assert not office.machine.memory.documents, "it is not printed"


def test_a_program_stored_before_the_power_went_and_not_yet_noticed_is_neither_installed_nor_printed(
    office: Office,
) -> None:
    office.instruct()
    office.machine.press(["SET"])
    office.store(office.program_mail(code_file(PART)))
    office.pc.cycle(cut=True)
    assert not office.machine.memory.documents, "it is not printed"
    assert "nobody waits any more" in office.machine.journal.read()[-1].note
    assert office.pc.ready() == "V10100"


def test_the_same_program_mailed_again_is_neither_installed_nor_printed(office: Office) -> None:
    office.instruct()
    office.machine.press(["SET"])
    for _ in range(2):
        office.answer(code_file(PART))
        assert office.pc.ready() == "V10200"
    assert not office.machine.memory.documents
    assert "nobody waits any more" in office.machine.journal.read()[-1].note


def test_an_answer_made_up_from_the_number_of_an_instruction_is_a_mail_like_any_other(office: Office) -> None:
    office.instruct()
    office.machine.press(["SET"])
    office.answer(code_file(PART), in_reply_to=f"<1.{'0' * 32}@uf-8000.local>")
    assert office.machine.memory.documents == 1, "it waits to be printed"
