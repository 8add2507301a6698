"""Pages a second: the imaging room beside Pillow with libtiff, which decodes the same file and counts no damage.

Run it with `python benchmarks/imaging.py`. Every case is timed in pairs, one run of each side after the other, so that
a busy machine slows both; the median of the pairs counts.
"""

from __future__ import annotations

import argparse
import io
import resource
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image, ImageSequence

from fauxfax.imaging import pdf, t4, text, tiff
from fauxfax.imaging.raster import Raster
from fauxfax.imaging.t4 import Coding

FLOOR = 20.0
"""Pages a second and core that clean A4 fine text must reach."""
PAGES = 4
LETTER = "Dear Sir or Madam,\n\nWith reference to your letter of the 12th we are pleased to confirm the order.\n\n" * 12


@dataclass(frozen=True)
class Case:
    """Two ways to do the same to so many pages; `peer` is None where nobody else does it."""

    name: str
    ours: Callable[[], object]
    peer: Callable[[], object] | None
    floor: float = 0.0
    pages: int = PAGES


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds, those of programs that it starts included."""
    before = spent()
    work()
    return spent() - before


def spent() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def decode_with_pillow(data: bytes) -> int:
    with Image.open(io.BytesIO(data)) as image:
        return sum(len(frame.tobytes()) for frame in ImageSequence.Iterator(image))


def encode_with_pillow(pages: list[Raster]) -> bytes:
    images = [page.to_image() for page in pages]
    out = io.BytesIO()
    images[0].save(out, "TIFF", save_all=True, append_images=images[1:], compression="group4")
    return out.getvalue()


def decode(data: bytes) -> int:
    return sum(page.decoded.proven for page in tiff.read(data))


def damaged(page: Raster, coding: Coding) -> Callable[[], object]:
    strip = bytearray(t4.encode(page, coding))
    strip[len(strip) * 9 // 10] ^= 0x55
    return lambda: [t4.decode(bytes(strip), page.width, page.height, coding) for _ in range(PAGES)]


def jbig_cases(page: Raster) -> list[Case]:
    """JBIG beside libtiff's tiffcp, which starts a program and writes the pages uncompressed; none without tiffcp."""
    if shutil.which("tiffcp") is None:
        print("tiffcp is not installed: JBIG is not measured")
        return []
    folder = tempfile.TemporaryDirectory(prefix="fauxfax-bench-")
    plain, coded, back = (Path(folder.name) / name for name in ("plain.tif", "coded.tif", "back.tif"))
    plain.write_bytes(tiff.write([page] * PAGES, Coding.UNCOMPRESSED))
    subprocess.run(["tiffcp", "-c", "jbig", plain, coded], check=True)
    data = coded.read_bytes()
    pages = tiff.read(data, tiff.Limits(jbig=True))
    assert all(read.raster.rows == page.rows for read in pages), "what is measured is right"
    return [
        Case(
            "decode JBIG",
            lambda: [read.raster for read in tiff.read(data, tiff.Limits(jbig=True))],
            lambda folder=folder: subprocess.run(["tiffcp", "-c", "none", coded, back], cwd=folder.name, check=True),
        )
    ]


def cases() -> list[Case]:
    (page,) = text.render(LETTER)
    pages = [page] * PAGES
    files = {coding: tiff.write(pages, coding) for coding in (Coding.MMR, Coding.MR, Coding.MH)}
    decoded = tiff.read(files[Coding.MMR])
    for clean in decoded:
        assert clean.decoded.proven, "a clean page must come by the quick way"
    return [
        *(
            Case(f"decode and prove {coding.value}", partial(decode, data), partial(decode_with_pillow, data), FLOOR)
            for coding, data in files.items()
        ),
        *jbig_cases(page),
        *(Case(f"count damage in {coding.value}", damaged(page, coding), None) for coding in files),
        Case("write a tray TIFF (MMR)", lambda: tiff.write(pages), lambda: encode_with_pillow(pages)),
        Case("write a profile S TIFF", lambda: tiff.write_profile_s(pages), None),
        Case("write a PDF, strips passed through", lambda: pdf.write(decoded * 50), None, pages=PAGES * 50),
        Case("PNG preview", lambda: [page.to_png() for page in pages], None),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7, help="pairs of runs of each case, at least 5 (default 7)")
    runs = max(5, parser.parse_args().runs)
    print(f"A4 fine text, pages a second and core, median of {runs} pairs")
    print(f"{'':36}{'fauxfax':>10}{'libtiff':>10}{'ratio':>8}")
    missed = []
    for case in cases():
        pairs = [(seconds(case.ours), seconds(case.peer) if case.peer else 0.0) for _ in range(runs)]
        ours = statistics.median(case.pages / mine for mine, _ in pairs)
        line = f"{case.name:36}{ours:10.0f}"
        if case.peer:
            ratio = statistics.median(theirs / mine for mine, theirs in pairs)
            line += f"{statistics.median(case.pages / theirs for _, theirs in pairs):10.0f}{ratio:8.2f}"
        print(line)
        if ours < case.floor:
            missed.append(f"{case.name}: {ours:.0f} pages a second, the floor is {case.floor:.0f}")
    print("\n".join(missed))
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
