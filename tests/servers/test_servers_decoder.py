from __future__ import annotations

import asyncio
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fauxfax.errors import FauxfaxError
from fauxfax.ifax.host import Envelope, Recipient
from fauxfax.imaging import tiff
from fauxfax.imaging.page import Coding
from fauxfax.imaging.raster import Raster
from fauxfax.servers import decodeworker
from fauxfax.servers.decoder import Decoded, Decoder, DecoderLimits

FILES = ["document.json", "document.pdf", "document.tif", "message.eml"]
RASTER = Raster(1728, 100, (bytes(100) + b"\xff" * 116) * 100, 204.0, 98.0)
FAX = b"Subject: x\r\nContent-Type: image/tiff\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + tiff.write([RASTER] * 3)
ENVELOPE = Envelope(
    session=1,
    peer="192.0.2.1",
    helo="x",
    sender="jane@example.org",
    received_at=1_000_000_000.0,
    recipients=(Recipient(address="fax@uf-8000.local", mailbox="fax"),),
)


def with_decoder(work: Callable[[Decoder], Awaitable[None]], limits: DecoderLimits | None = None) -> None:
    async def run() -> None:
        decoder = Decoder(limits)
        try:
            async with asyncio.timeout(60):
                await work(decoder)
        finally:
            await decoder.stop()

    asyncio.run(run())


def test_a_message_becomes_a_complete_folder(tmp_path: Path) -> None:
    folder = tmp_path / "spool" / "0007"
    results: list[Decoded] = []

    async def work(decoder: Decoder) -> None:
        results.append(await decoder.decode(7, b"Subject: x\r\n\r\nhello\r\n", ENVELOPE, folder))

    with_decoder(work)
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["0007"]
    assert (folder / "message.eml").read_bytes() == b"Subject: x\r\n\r\nhello\r\n"
    description = json.loads((folder / "document.json").read_text())
    assert description["id"] == 7
    assert description["received_at"] == "2001-09-09T01:46:40+00:00"
    assert description["envelope"] == ENVELOPE.as_dict()
    assert description["result"] == results[0].result == "R-OK"
    assert description["pages"][0]["dpi"] == [204.0, 196.0]
    assert len(tiff.read((folder / "document.tif").read_bytes())) == len(results[0].pages) == 1
    assert (folder / "document.pdf").read_bytes().startswith(b"%PDF")


def test_the_same_job_again_gives_the_same_folder(tmp_path: Path) -> None:
    async def work(decoder: Decoder) -> None:
        first = await decoder.decode(1, FAX, ENVELOPE, tmp_path / "0001")
        (tmp_path / ".0001.unfinished").mkdir()
        assert await decoder.decode(1, FAX, ENVELOPE, tmp_path / "0001") == first
        assert [path.name for path in tmp_path.iterdir()] == ["0001"]

    with_decoder(work)


def test_a_message_that_cannot_be_read_becomes_an_error_sheet(tmp_path: Path) -> None:
    async def work(decoder: Decoder) -> None:
        decoded = await decoder.decode(1, b"Content-Type: application/pdf\r\n\r\n%PDF", ENVELOPE, tmp_path / "0001")
        assert (decoded.result, len(decoded.pages)) == ("870", 1)
        assert "application/pdf" in decoded.reason
        assert decoder.restarts == 0

    with_decoder(work)
    assert sorted(path.name for path in (tmp_path / "0001").iterdir()) == FILES


@pytest.mark.parametrize(("share", "result"), [(0.05, "R-OK"), (0.2, "871")], ids=["a twentieth", "a fifth"])
def test_a_page_with_more_than_a_tenth_missing_fails_the_document_and_is_in_the_tray_as_far_as_it_came(
    tmp_path: Path, share: float, result: str
) -> None:
    fax = tiff.write([Raster(1728, 100, random.Random(1).randbytes(216 * 100), 204.0, 98.0)], Coding.MH)
    page = tiff.read(fax)[0]
    strip = page.strips[0]
    cut = strip[: int(len(strip) * (1 - share))].ljust(len(strip), b"\0")
    assert fax.count(strip) == 1

    async def work(decoder: Decoder) -> None:
        message = FAX[: FAX.index(b"II*")] + fax.replace(strip, cut)
        decoded = await decoder.decode(1, message, ENVELOPE, tmp_path / "0001")
        assert decoded.result == result
        (found,) = decoded.pages
        assert 0 < found.missing_rows + found.damaged_rows <= 100 * share + 1
        assert decoded.reason == ("more than a tenth of page 1 is damaged" if result == "871" else "")
        (printed,) = tiff.read((tmp_path / "0001" / "document.tif").read_bytes())
        kept = printed.raster.height - found.damaged_rows
        assert printed.raster.rows[: 216 * kept] == page.raster.rows[: 216 * kept]

    with_decoder(work)


def test_a_message_that_needs_too_much_memory_ends_the_worker_and_not_the_machine(tmp_path: Path) -> None:
    async def work(decoder: Decoder) -> None:
        decoded = await decoder.decode(1, b"Subject: x\r\n\r\n" + b"a" * 60_000_000, ENVELOPE, tmp_path / "0001")
        assert decoded.result == "870"
        assert decoded.reason == "the message ended the decoder"
        assert decoded.headers == {"Subject": "x"}
        assert decoder.restarts == 1
        assert (await decoder.decode(2, b"\r\nhello\r\n", ENVELOPE, tmp_path / "0002")).result == "R-OK"

    with_decoder(work, DecoderLimits(address_space=250 * 1024 * 1024))


def test_what_a_codec_prints_about_damage_is_not_printed_on_the_machines_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(1)
    fax = bytearray(tiff.write([Raster(1728, 100, chance.randbytes(216 * 100), 204.0, 98.0)], Coding.MR))
    fax[len(fax) // 2 : len(fax) // 2 + 6] = bytes(6)

    async def work(decoder: Decoder) -> None:
        decoded = await decoder.decode(1, FAX[: FAX.index(b"II*")] + fax, ENVELOPE, tmp_path / "0001")
        assert decoded.pages[0].damaged_rows > 0

    with_decoder(work)
    assert capfd.readouterr().err == ""


def test_a_message_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    async def work(decoder: Decoder) -> None:
        assert (await decoder.decode(1, b"\r\nhello\r\n", ENVELOPE, tmp_path / "0001")).result == "R-OK"
        assert decoder.worker_pid is not None
        os.kill(decoder.worker_pid, signal.SIGSTOP)
        decoded = await decoder.decode(2, b"\r\nhello\r\n", ENVELOPE, tmp_path / "0002")
        assert decoded.result == "870"
        assert "took more than" in decoded.reason

    with_decoder(work, DecoderLimits(seconds=1.5))


def test_a_worker_that_died_between_jobs_is_replaced(tmp_path: Path) -> None:
    async def work(decoder: Decoder) -> None:
        await decoder.decode(1, b"\r\nhello\r\n", ENVELOPE, tmp_path / "0001")
        assert decoder.worker_pid is not None
        os.kill(decoder.worker_pid, signal.SIGKILL)
        await asyncio.sleep(0.1)
        assert (await decoder.decode(2, b"\r\nhello\r\n", ENVELOPE, tmp_path / "0002")).result == "R-OK"

    with_decoder(work)


@pytest.mark.parametrize("missing", [1, len(FAX)], ids=["the last octet", "all of it"])
def test_a_job_that_ends_early_is_no_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: int) -> None:
    """The machine was killed while it handed the message over: what came is not what was acknowledged."""
    monkeypatch.setattr(decodeworker.resource, "setrlimit", lambda *_: None)  # of this process, which goes on
    job = {"number": 1, "envelope": ENVELOPE.as_dict(), "folder": str(tmp_path / "0001"), "octets": len(FAX)}
    job["jbig"] = False
    answers = io.BytesIO()
    order = json.dumps(job).encode() + b"\n"
    decodeworker.main(0, 0, io.BytesIO(order + FAX[:-missing]), answers)
    assert answers.getvalue() == b""
    assert list(tmp_path.iterdir()) == []
    decodeworker.main(0, 0, io.BytesIO(order + FAX), answers)
    assert b'"done"' in answers.getvalue()


@pytest.mark.skipif(sys.platform != "linux", reason="the system ends the worker of a killed machine on Linux only")
def test_the_worker_ends_with_a_machine_that_is_killed(tmp_path: Path) -> None:
    """Else it would write into the spool of the machine that is started next."""
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from fauxfax.ifax.host import Envelope\n"
        "from fauxfax.servers.decoder import Decoder\n"
        "async def work():\n"
        "    decoder = Decoder()\n"
        f"    await decoder.inspect(b'\\r\\nhello\\r\\n', Envelope.from_dict({ENVELOPE.as_dict()!r}))\n"
        "    print(decoder.worker_pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(work())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as machine:
        assert machine.stdout is not None
        worker = int(machine.stdout.readline())
        os.kill(worker, signal.SIGSTOP)  # it cannot notice by itself that its input has ended
        machine.kill()
    end = time.monotonic() + 20
    while _alive(worker):
        assert time.monotonic() < end, "the worker outlives the machine"
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    """Whether the process is there; one that nobody has waited for yet is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_folder_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    async def work(decoder: Decoder) -> None:
        with pytest.raises(FauxfaxError, match="cannot be written"):
            await decoder.decode(1, b"\r\nhello\r\n", ENVELOPE, tmp_path / "file" / "0001")

    with_decoder(work)
