"""What the end-to-end tests share: faxes to send, code files to install, machines to start."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from e2e_mailserver import MailServer
from PIL import Image, ImageDraw

from fauxfax.firmware import recipe
from fauxfax.testing import MachineProcess

SendFax = Callable[[MachineProcess, bytes], None]


@pytest.fixture(scope="session")
def page() -> Image.Image:
    """A small page with something on every part of it."""
    image = Image.new("1", (1728, 600), 1)
    draw = ImageDraw.Draw(image)
    draw.rectangle((20, 20, 1700, 580), outline=0, width=7)
    draw.line((20, 20, 1700, 580), fill=0, width=3)
    draw.ellipse((400, 100, 900, 500), fill=0)
    return image


@pytest.fixture(scope="session")
def page_tif(page: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("pages") / "page.tif"
    page.save(path, compression="group3", dpi=(204, 196))
    return path.read_bytes()


@pytest.fixture(scope="session")
def code_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Builds a code file once: `code_file("UF-8000 SC V10200")` is its path."""
    folder, built = tmp_path_factory.mktemp("code-files"), {}
    recipes = recipe.load_all()

    def build(name: str) -> Path:
        if name not in built:
            model, component, version = name.split()
            file_name, data = recipe.build(recipes[component], model, version)
            built[name] = folder / file_name
            built[name].write_bytes(data)
        return built[name]

    return build


def mail(tif: bytes, *, message_id: str = "<1@example.org>") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = (
        "me@example.org",
        "fax@uf-8000.local",
        "IMAGE from Internet FAX",
    )
    message["Message-Id"] = message_id
    message.add_attachment(tif, maintype="image", subtype="tiff", filename="page.tif")
    return message


@pytest.fixture
def send_fax() -> SendFax:
    def send(machine: MachineProcess, tif: bytes) -> None:
        with smtplib.SMTP("127.0.0.1", machine.ports["smtp"], timeout=20) as smtp:
            smtp.send_message(mail(tif))

    return send


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., MachineProcess]]:
    """Starts machines with options of their own, and ends them with the test."""
    machines: list[MachineProcess] = []

    def start(*options: str, clock: str = "fast", state: str = "machine") -> MachineProcess:
        machine = MachineProcess(tmp_path / state, options, clock)
        machines.append(machine)
        return machine.start()

    yield start
    for machine in machines:
        machine.kill()


@pytest.fixture
def server() -> Iterator[MailServer]:
    """Where the machine's own mail goes."""
    server = MailServer()
    yield server
    server.close()
