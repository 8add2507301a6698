"""Any document a person has, as fax pages.

TIFF that is a fax already keeps its picture elements, if the minimum set of T.37 (profile S) can hold them; any other
picture is scaled to the paper. PDF needs poppler's `pdftoppm`: nothing that this project depends on can draw one.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from fauxfax.errors import FormatError, Misuse
from fauxfax.imaging import text, tiff
from fauxfax.imaging.raster import Raster
from fauxfax.imaging.scale import PAGE_WIDTH, to_fax
from fauxfax.imaging.tiffwriter import PROFILE_S_DPI
from fauxfax_tools.errors import BadUsage

FILE_LIMIT = 256 << 20  # octets of a document
PAGE_LIMIT = 500
PDF_DPI = "408"  # twice the fax's, so that thin lines survive the scaling
PDF_TIMEOUT = 300  # seconds
STRETCH = 5.0  # project value: elements more oblong than that are a mistake of whoever wrote the picture
TIFF_BEGINNINGS = (b"II*\0", b"MM\0*")


def read_pages(path: Path, y_dpi: float) -> list[Raster]:
    """The pages of a PDF, PNG, TIFF or text file, 1728 elements wide. Raises BadUsage that says what it is not."""
    try:
        size = path.stat().st_size
        if size > FILE_LIMIT:
            raise BadUsage(f"{path}: {size} octets; a document may have {FILE_LIMIT}")
        data = path.read_bytes()
    except OSError as error:
        raise BadUsage(f"{path}: {error.strerror}") from error
    try:
        pages = list(_pages(path, data, y_dpi))
    except (FormatError, Misuse) as error:
        raise BadUsage(f"{path}: {error}") from error
    if not pages:
        raise BadUsage(f"{path}: there is no page in it")
    if len(pages) > PAGE_LIMIT:
        raise BadUsage(f"{path}: {len(pages)} pages; a fax may have {PAGE_LIMIT}")
    return pages


def _pages(path: Path, data: bytes, y_dpi: float) -> Iterator[Raster]:
    if data.startswith(b"%PDF"):
        yield from _pdf_pages(path, y_dpi)
    elif data.startswith(TIFF_BEGINNINGS):
        yield from _tiff_pages(path, data, y_dpi)
    elif (written := _as_text(data)) is not None:
        yield from (_scaled(page, y_dpi) for page in text.render(written))
    else:
        yield from _pictures(path, y_dpi)


def _tiff_pages(path: Path, data: bytes, y_dpi: float) -> Iterator[Raster]:
    try:
        rasters = [page.raster for page in tiff.read(data)]
    except FormatError:  # no fax: colour, grey, or a coding that faxes do not have
        yield from _pictures(path, y_dpi)
        return
    for raster in rasters:
        resolution = (round(raster.x_dpi), round(raster.y_dpi))
        fits = raster.width == PAGE_WIDTH and resolution in PROFILE_S_DPI
        yield raster if fits else _scaled(raster, y_dpi)


def _scaled(raster: Raster, y_dpi: float) -> Raster:
    """A page at another resolution, as long as it was for its width; elements are square if the file told nothing."""
    if (raster.width, raster.y_dpi) == (PAGE_WIDTH, y_dpi):
        return raster
    told = raster.width in tiff.DEFAULT_DPI or (raster.x_dpi, raster.y_dpi) != tiff.DEFAULT_DPI[PAGE_WIDTH]
    return to_fax(raster.to_image(), y_dpi=y_dpi, shape=raster.x_dpi / raster.y_dpi if told else 1.0)


def _pictures(path: Path, y_dpi: float) -> Iterator[Raster]:
    from PIL import Image, ImageSequence, UnidentifiedImageError

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            for frame in ImageSequence.Iterator(image):
                yield to_fax(frame, y_dpi=y_dpi, shape=_shape(frame.info.get("dpi")))
    except UnidentifiedImageError:
        raise BadUsage(f"{path}: neither PDF, PNG, TIFF nor text, nor any picture that Pillow knows") from None
    except (OSError, Image.DecompressionBombError) as error:
        raise BadUsage(f"{path}: the picture cannot be read ({error})") from error


def _shape(dpi: tuple[float, float] | None) -> float:
    """The shape of a picture's elements, by the resolutions it tells; square ones if it tells nothing sensible."""
    shape = float(dpi[0]) / float(dpi[1]) if dpi and dpi[0] and dpi[1] else 1.0
    return shape if 1 / STRETCH <= shape <= STRETCH else 1.0


def _as_text(data: bytes) -> str | None:
    """The file as text, None if it is none."""
    if b"\0" in data:
        return None
    try:
        written = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return written if written.strip() else None


def _pdf_pages(path: Path, y_dpi: float) -> Iterator[Raster]:
    program = shutil.which("pdftoppm")
    if program is None:
        raise BadUsage(f"{path}: a PDF needs the program pdftoppm to be drawn (Debian: poppler-utils), or send a TIFF")
    with tempfile.TemporaryDirectory(prefix="fauxfax-") as folder:
        command = [program, "-r", PDF_DPI, "-gray", "-png", "-l", str(PAGE_LIMIT + 1), str(path.resolve()), "page"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, timeout=PDF_TIMEOUT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BadUsage(f"{path}: pdftoppm did not finish ({error})") from error
        if done.returncode:
            complaint = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise BadUsage(f"{path}: pdftoppm cannot draw it ({complaint[-1] if complaint else done.returncode})")
        for drawn in sorted(Path(folder).glob("page-*.png")):
            yield from _pictures(drawn, y_dpi)
