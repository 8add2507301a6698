"""The tray folder: one folder per printed document, complete or not there at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fauxfax.errors import FauxfaxError

FILES = ("document.json", "document.pdf", "document.tif", "message.eml", "print.prn")


class Tray:
    """Reads the tray, and moves finished folders into it.

    A folder is prepared beside the tray on the same file system and renamed into it, so it appears at once.
    """

    def __init__(self, folder: Path, spool: Path) -> None:
        self.folder = folder
        self.spool = spool
        folder.mkdir(parents=True, exist_ok=True)
        spool.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def name(number: int) -> str:
        """`0001` for document 1."""
        return f"{number:04d}"

    def prepared(self, number: int) -> Path:
        """Where document `number` waits, decoded, until its pages are out."""
        return self.spool / self.name(number)

    def holds(self, number: int) -> bool:
        """Whether the document lies in the tray."""
        return (self.folder / self.name(number) / "document.json").exists()

    def publish(self, number: int) -> None:
        """Put a prepared document into the tray. Doing so again does nothing."""
        source, target = self.prepared(number), self.folder / self.name(number)
        if source.exists():
            self.folder.mkdir(parents=True, exist_ok=True)  # somebody may have emptied the tray with the tray
            source.rename(target)
            _sync_folder(self.folder)
        elif not target.exists():
            raise FauxfaxError(f"tray: document {number} was never prepared")

    def list(self) -> list[dict[str, Any]]:
        """A summary of each document, oldest first; a folder without one is none of the tray's."""
        return [self.document(number) for number in self.numbers() if self.holds(number)]

    def last(self) -> int:
        """The highest number in the tray; 0 if it is empty."""
        return max(self.numbers(), default=0)

    def numbers(self) -> Sequence[int]:
        """The numbers of the folders in the tray, lowest first."""
        if not self.folder.exists():
            return ()
        return sorted(int(entry.name) for entry in self.folder.iterdir() if entry.name.isdecimal())

    def document(self, number: int) -> dict[str, Any]:
        """The `document.json` of one document. Raises FauxfaxError if there is none."""
        document: dict[str, Any] = json.loads(self.file(number, "document.json").read_text(encoding="utf-8"))
        return document

    def file(self, number: int, name: str) -> Path:
        """The path of one of a document's files. Raises FauxfaxError if it is not there."""
        path = self.folder / self.name(number) / name
        if name not in FILES or not path.is_file():
            raise FauxfaxError(f"tray: document {number} has no {name!r}; a document has {', '.join(FILES)}")
        return path

    def page_png(self, number: int, page: int) -> bytes:
        """One page as PNG, 1 is the first."""
        from fauxfax.imaging import tiff

        pages = tiff.read(self.file(number, "document.tif").read_bytes())
        if not 1 <= page <= len(pages):
            raise FauxfaxError(f"tray: document {number} has no page {page}, it has {len(pages)}")
        return pages[page - 1].raster.to_png()

    def become(self, folder: Path) -> None:
        """Empty the tray and the spool, and move the documents of a folder into the tray, as a snapshot is put back."""
        for place in (self.folder, self.spool):
            for entry in place.iterdir():
                if entry.is_dir() and entry.name.isdigit():
                    shutil.rmtree(entry)
        for entry in folder.iterdir():
            entry.rename(self.folder / entry.name)
        _sync_folder(self.folder)

    @contextlib.contextmanager
    def scratch(self, suffix: str) -> Iterator[Path]:
        """A file name for a moment, removed afterwards."""
        handle, name = tempfile.mkstemp(suffix=suffix, dir=self.spool)
        os.close(handle)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
