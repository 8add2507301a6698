"""The worker of `decoder`: jobs on standard input, tray folders on disk, page summaries on standard output.

It ends with the machine's process, even if that is killed: a worker that outlived it would write into the spool of the
machine that is started next.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from fauxfax.errors import FormatError
from fauxfax.ifax.host import BINARY
from fauxfax.ifax.mail import Document, Limits, error_sheet, open_document, unopened
from fauxfax.imaging import pdf, prints, tiff
from fauxfax.imaging.page import Page
from fauxfax.servers.decoder import PageSummary

MAILED, PRINTED = "message.eml", "print.prn"
"""What came, as it came: by mail, or from a PC's printing channel."""
RESULT_OK = "R-OK"
"""The family's communication journal (facts of the machine)."""
RESULT_UNREADABLE = "870"
"""Nothing, or not everything, could be printed: a project value, the codes of the network are not public."""
RESULT_DAMAGED = "871"
"""More than a tenth of a page was bad: a project value."""
PR_SET_PDEATHSIG = 1
"""prctl(2) of Linux: the signal this process gets when the one that started it ends."""


def main(address_space: int, processor_seconds: int, jobs: BinaryIO, answers: BinaryIO) -> None:
    """Work until the input ends. A job that ends too early is none: who gave it is gone, and will give it again."""
    resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
    while order := jobs.readline():
        job = json.loads(order)
        message = jobs.read(job["octets"])
        if len(message) < job["octets"]:
            return
        _allow(processor_seconds)
        try:
            lines = _work(job, message)
        except MemoryError:
            raise SystemExit(f"decoder: document {job['number']} needs more than {address_space} octets") from None
        try:
            answers.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
            answers.flush()
        except BrokenPipeError:
            return  # nobody is left to hear it


def _allow(processor_seconds: int) -> None:
    """The processor time of one job, counted from now; beyond it the system ends the process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(usage.ru_utime + usage.ru_stime) + 1 + processor_seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _work(job: dict[str, Any], message: bytes) -> list[dict[str, Any]]:
    """One job: the folder, then its answers."""
    document = unopened(message, job["failure"]) if "failure" in job else _open(message, job)
    sender = job["envelope"]["sender"]
    pages = list(document.pages) if not document.failure else error_sheet(document, sender)
    summaries = [_summary(number, page) for number, page in enumerate(pages, 1)]
    result, reason = _result(document, summaries)
    description = {
        "id": job["number"],
        "received_at": datetime.fromtimestamp(job["envelope"]["received_at"], UTC).isoformat(timespec="seconds"),
        "envelope": job["envelope"],
        "headers": document.headers,
        "notification": document.notification,
        "pages": [dataclasses.asdict(summary) for summary in summaries],
        "result": result,
        "reason": reason,
    }
    original = PRINTED if job["envelope"]["body"] == BINARY else MAILED
    try:
        if job["folder"]:  # else nobody wants more than the answer
            _write_folder(Path(job["folder"]), original, message, pages, description)
    except OSError as error:
        return [{"error": f"{error.strerror}: {error.filename}"}]
    done = {"result": result, "reason": reason, "headers": document.headers, "notification": document.notification}
    return [*({"page": page} for page in description["pages"]), {"done": done}]


def _open(message: bytes, job: dict[str, Any]) -> Document:
    """A mail, or the picture that a PC printed."""
    image = tiff.Limits(jbig=job["jbig"])
    if job["envelope"]["body"] != BINARY:
        return open_document(message, Limits(image=image))
    try:
        return Document({}, tuple(prints.read(message, image)))
    except FormatError as error:
        return Document({}, (), str(error))


def _summary(number: int, page: Page) -> PageSummary:
    """Decodes the page, which is what counts its damage."""
    return PageSummary(
        number, page.width, page.raster.height, (round(page.x_dpi, 2), round(page.y_dpi, 2)), page.coding.value,
        len(page.bad_rows), page.missing_rows, page.is_error,
    )  # fmt: skip


def _result(document: Document, pages: Sequence[PageSummary]) -> tuple[str, str]:
    if document.failure:
        return RESULT_UNREADABLE, document.failure
    bad = [str(page.number) for page in pages if page.error]
    if bad:
        return RESULT_DAMAGED, f"more than a tenth of page {', '.join(bad[:20])} is damaged"
    return RESULT_OK, ""


def _write_folder(
    folder: Path, original: str, message: bytes, pages: Sequence[Page], description: dict[str, Any]
) -> None:
    """All files, synced, under another name; then the rename that makes the folder appear complete."""
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    for leftover in (unfinished, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished.mkdir(parents=True)
    _write(unfinished / original, message)
    _write(unfinished / "document.tif", tiff.write(pages))
    _write(unfinished / "document.pdf", pdf.write(pages))
    _write(unfinished / "document.json", json.dumps(description, indent=2, ensure_ascii=False).encode() + b"\n")
    _sync_folder(unfinished)
    unfinished.rename(folder)
    _sync_folder(folder.parent)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _silence_codecs() -> None:
    """What libtiff prints about a sender's rows is counted here anyway; what Python says of this program stays seen."""
    sys.stderr = os.fdopen(os.dup(2), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _end_with(parent: int) -> None:
    """Have the system end this process with its parent, if it is Linux; the parent may be gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()


if __name__ == "__main__":
    _end_with(int(sys.argv[3]))
    _silence_codecs()
    main(int(sys.argv[1]), int(sys.argv[2]), sys.stdin.buffer, sys.stdout.buffer)
