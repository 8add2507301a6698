"""A guest of QEMU under software emulation: a Debian kernel, busybox, and a shell that a test talks to.

    with Guest(["xhci-pci", "usblp"], usbredir=port) as guest:
        guest.wait_for("[ -e /dev/usb/lp0 ]")
        assert guest.run("cat /sys/class/usbmisc/lp0/device/ieee1284_id") == …

It has booted long ago, see guestimage.py, and each guest goes on from there; a test's drivers are loaded for it alone.
Hardware virtualisation is never needed.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
import tempfile
from collections.abc import Sequence
from types import TracebackType

from guestimage import Missing, build, go_on, hardware, restored, write_disk
from qemuprocess import QemuProcess

__all__ = ["Guest", "Missing"]

RUN_SECONDS = 30.0
UNPACK = "cd / && cpio -idu < /dev/vda 2>&1"
SHARE_DRIVERS = ("9pnet_virtio", "9p")
MOUNT_SHARE = (
    "mkdir /host && mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 host /host"
    " && for part in dev proc sys; do mount -o bind /$part /host/$part; done"
)


class Guest:
    """One guest: restored on entry, killed on exit.

    Args:
        modules: kernel modules to load, in order; what they depend on is loaded before them.
        files: files for it, by their path in the guest.
        usbredir: TCP port of the loopback where a machine for its USB offers itself; it is plugged in on entry.
        bus: where it is plugged in, xhci, ehci or uhci.
        parallel: what is on its parallel port, as QEMU's -chardev without an id.
    """

    def __init__(
        self, modules: Sequence[str], files: dict[str, bytes] | None = None, *,
        usbredir: int | None = None, bus: str = "xhci", parallel: str = "null",
    ) -> None:  # fmt: skip
        self._modules = modules
        self._files = files or {}
        self._usbredir, self._bus = usbredir, bus
        self._parallel = parallel
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Guest:
        self._image = build()
        with contextlib.ExitStack() as opened:
            disk = opened.enter_context(tempfile.NamedTemporaryFile(suffix=".disk"))
            write_disk(disk, self._files)
            self._qemu = opened.enter_context(
                QemuProcess([*hardware(disk.name, self._parallel), *restored(self._image)])
            )
            go_on(self._qemu)
            if self._files:
                self.run(UNPACK)
            if self._usbredir is not None:
                self._plug_in(self._usbredir)
            self.load(*self._modules)
            self._open = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._open.close()

    def _plug_in(self, port: int) -> None:
        socket = {"addr": {"type": "inet", "data": {"host": "127.0.0.1", "port": str(port)}}, "server": False}
        backend = {"type": "socket", "data": socket | {"nodelay": True, "reconnect": 1}}
        self._qemu.ask("chardev-add", {"id": "machine", "backend": backend})
        self._qemu.ask("device_add", {"driver": "usb-redir", "chardev": "machine", "bus": f"{self._bus}.0"})

    def load(self, *modules: str) -> None:
        """Load kernel modules, after those they depend on."""
        for name in self._image.in_order(modules):
            self.run(f"[ -e /sys/module/{name} ] || insmod /modules/{name}.ko")

    def run(self, command: str, seconds: float = RUN_SECONDS, *, expect: int | None = 0) -> str:
        """Run a line of shell. Returns what it said; its exit code must be `expect`, unless that is None."""
        self.begin(command)
        return self.finish(seconds, expect=expect)

    def python(self, *words: str, seconds: float = RUN_SECONDS) -> str:
        """Run this very Python, from this computer's files, which the guest only reads."""
        self.load(*SHARE_DRIVERS)
        self.run(f"[ -d /host ] || {{ {MOUNT_SHARE}; }}")
        words = (sys.executable, *words)
        return self.run(f"chroot /host {shlex.join(words)} > /said 2>&1; x=$?; cat /said; (exit $x)", seconds)

    def begin(self, command: str) -> None:
        """Run a line of shell, and do something else meanwhile."""
        self._qemu.type(command)

    def finish(self, seconds: float = RUN_SECONDS, *, expect: int | None = 0) -> str:
        """What the line that `begin()` ran has said."""
        lines, ending = self._qemu.read_until(r"guest: (\d+)", seconds)
        text = "\n".join(lines).rstrip("\n")
        code = int(ending.rpartition(" ")[2])
        assert expect is None or code == expect, f"exit code {code}, not {expect}; it said: {text}"
        return text

    def wait_for(self, condition: str, seconds: float = 20.0) -> None:
        """Wait until a shell condition holds."""
        tries = int(seconds * 50)
        self.run(f"n=0; until {condition}; do n=$((n+1)); [ $n -gt {tries} ] && break; usleep 20000; done; {condition}")
