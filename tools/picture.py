"""Makes the README's picture: sends a fax to a machine, and draws its panel beside the page that came out.

make picture
"""

from __future__ import annotations

import io
import smtplib
import tempfile
from email.message import EmailMessage
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from fauxfax.imaging import scale, tiffwriter
from fauxfax.testing import MachineProcess

TARGET = Path(__file__).parents[1] / "docs" / "picture.png"
SIZE = (1200, 560)
BODY, GLASS, LETTERS, LAMP = "#d9d8d2", "#9fb08a", "#1d2616", "#3fa34d"


def page() -> Image.Image:
    """A page worth looking at: what a person would fax to try a machine."""
    image = Image.new("L", (1728, 2200), 255)
    draw = ImageDraw.Draw(image)
    draw.text((140, 150), "fauxfax", font=ImageFont.load_default(190), fill=0)
    draw.text((150, 380), "a fax machine that lives in a process", font=ImageFont.load_default(64), fill=0)
    draw.line((150, 480, 1580, 480), fill=0, width=8)
    for row, text in enumerate(("MH  MR  MMR", "204 x 196 dpi", "ITU-T T.37", "no damaged rows")):
        draw.text((150, 560 + 110 * row), text, font=ImageFont.load_default(80), fill=0)
    for step in range(24):
        draw.arc(
            (750 + 18 * step, 1050 + 18 * step, 1580 - 6 * step, 1880 - 6 * step), 15 * step, 15 * step + 250, 0, 9
        )
    for column in range(32):
        draw.rectangle((150 + 16 * column, 1200, 150 + 16 * column + column // 2, 1880), fill=0)
    draw.text((150, 1980), "fax@uf-8000.local", font=ImageFont.load_default(90), fill=0)
    return image


def fax(machine: MachineProcess) -> Image.Image:
    """Send the page, and fetch what came out of the machine."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "you@example.org", "fax@uf-8000.local", "IMAGE from Internet FAX"
    tif = tiffwriter.write_profile_s([scale.to_fax(page())])
    mail.add_attachment(tif, maintype="image", subtype="tiff", filename="page.tif")
    with smtplib.SMTP("127.0.0.1", machine.ports["smtp"]) as smtp:
        smtp.send_message(mail)
    machine.wait("fax")
    return Image.open(io.BytesIO(machine.client.request("GET", "/v1/tray/1/page-1.png"))).convert("L")


def draw(status: dict, journal: list, paper: Image.Image) -> Image.Image:
    """The panel as it is now, the journal's line, and the page."""
    picture = Image.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(picture)
    pen.rounded_rectangle((20, 60, 700, 500), 26, fill=BODY, outline="#8f8e88", width=3)
    pen.text((60, 90), "Panafax", font=ImageFont.load_default(26), fill="#55544f")
    pen.text((660, 92), f"{status['model']}  emulated", font=ImageFont.load_default(22), fill="#55544f", anchor="ra")
    pen.rounded_rectangle((60, 140, 660, 280), 10, fill=GLASS, outline="#55544f", width=3)
    for row, line in enumerate(status["panel"]):
        pen.text((84, 158 + 58 * row), line, font=ImageFont.load_default(44), fill=LETTERS)
    for column, lamp in enumerate(("ONLINE", "RECEIVE", "UPDATE", "ALARM")):
        left = 70 + 150 * column
        pen.ellipse((left, 318, left + 20, 338), fill=LAMP if lamp in status["lamps"] else "#b9b8b2", outline="#55544f")
        pen.text((left + 30, 317), lamp, font=ImageFont.load_default(18), fill="#55544f")
    entry = journal[-1]
    line = f"{entry['number']:04d}  {entry['kind']}  {entry['pages']} page  {entry['result']}  {entry['peer']}"
    pen.rectangle((60, 380, 660, 460), fill="white", outline="#b9b8b2")
    pen.text((80, 405), line, font=ImageFont.load_default(24), fill="black")
    height = 500
    sheet = paper.resize((round(height * 0.72), height), Image.Resampling.LANCZOS)
    pen.rectangle((788, 34, 788 + sheet.width, 34 + sheet.height), fill="#c9c9c9")
    picture.paste(sheet, (780, 26))
    pen.rectangle((779, 25, 780 + sheet.width, 26 + sheet.height), outline="#777777")
    return picture


def main() -> None:
    """Make the picture."""
    with tempfile.TemporaryDirectory() as folder:
        machine = MachineProcess(Path(folder) / "machine").start()
        try:
            paper = fax(machine)
            picture = draw(machine.status(), machine.client.get("/v1/journal"), paper)
        finally:
            machine.stop()
    picture.quantize(64).save(TARGET, optimize=True)
    print(f"{TARGET.relative_to(Path.cwd())}: {TARGET.stat().st_size} octets")


if __name__ == "__main__":
    main()
