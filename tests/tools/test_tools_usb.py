"""The pyusb driver, on a bus that exists in this process only."""

from __future__ import annotations

from pathlib import Path

from fauxfax.firmware import recipe
from fauxfax.inprocess import InProcessMachine
from fauxfax_tools.codefiles import load
from fauxfax_tools.dialects.reference import ReferenceDialect
from fauxfax_tools.links.usb import PANASONIC, UsbLink
from fauxfax_tools.updater import Options, Outcome, Updater


def test_an_update_goes_over_usb_and_finds_the_machine_again_after_its_restart(tmp_path: Path) -> None:
    name, data = recipe.build(recipe.load(recipe.folder() / "pnl.toml"), "UF-8000", "V10200")
    (tmp_path / name).write_bytes(data)
    with InProcessMachine() as host:

        class Cable(UsbLink):
            """Machine time stands while this process sleeps, so each look at the bus lets it pass."""

            def open(self) -> None:
                host.pump()
                super().open()

        cable = Cable(PANASONIC, None, None, host.usb_backend())
        image = load(tmp_path / name)
        result = Updater(cable, ReferenceDialect(cable), image, Options(lambda _: True)).run(lambda _: None)
        assert result.outcome is Outcome.UPDATED
        assert result.firmware["PNL"].version == "V10200"
        assert cable.url == f"usb:04da:1500:{host.machine.serial}"
