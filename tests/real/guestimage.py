"""What a guest is made of: a Debian kernel, busybox, and a PC with every plug a test wants, booted once and saved.

The kernel is what `fetch-kernel` put under .cache/kernel. `build()` boots it with an initramfs and saves the state of
the running guest under .cache/guest; `restored()` are the arguments that let QEMU go on from there. Both have the same
hardware, which QEMU insists on; only what is behind the plugs may differ. What is missing raises `Missing` with what to
install.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import lzma
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from qemuprocess import PROGRAM, MonitorError, QemuProcess

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache"
KERNEL = CACHE / "kernel"
BUILT = CACHE / "guest"
XZ = b"\xfd7zXZ\0"
BOOT_SECONDS = 40.0
STATE_SECONDS = 20.0
"""To save or to restore a state takes a tenth of a second."""
POLL_SECONDS = 0.005
STARTED = "guest: ready"
PROGRAMS = ("/usr/sbin/usbip",)
"""Programs of this computer that the guest gets, each with its libraries."""
FILES_SIZE = 32 * 1024 * 1024
"""Octets of the disk that brings a guest its files; the saved guest has seen it, so it is always the same.

What the saved guest read of the disk, Linux forgot when nobody had the disk open any more.
"""
LOADED = ("virtio_pci", "virtio_blk")
"""Drivers of that disk, which the saved guest has loaded. All others are loaded when a test wants them."""
DRIVERS = (
    *LOADED, "xhci-pci", "ehci-pci", "uhci-hcd", "usblp", "vhci-hcd", "parport_pc", "ppdev", "lp", "virtio_net",
    "9p", "9pnet_virtio",
)  # fmt: skip
PC = (
    # Without rdrand the first program that wants random numbers keeps Linux busy for a second, making some.
    "-M", "q35", "-accel", "tcg", "-cpu", "qemu64,+rdrand", "-smp", "1", "-m", "256",
    "-nodefaults", "-no-user-config", "-nographic", "-no-reboot",
    "-device", "qemu-xhci,id=xhci", "-device", "usb-ehci,id=ehci",
    # The default of 1280 octets in a frame is the wire's 12 Mbit/s, and 8 MiB take 6.5 s then.
    "-device", "piix3-usb-uhci,id=uhci,bandwidth=12800",
    "-device", "isa-parallel,chardev=cable",
    "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=",
    "-device", "virtio-blk-pci,drive=files",
    "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
)  # fmt: skip
# QEMU translates a program once for each address that it runs at: norandmaps.
BOOT = "console=ttyS0 quiet panic=-1 nokaslr norandmaps mitigations=off rdinit=/init"
INIT = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /tmp /var/run/vhci_hcd
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -echo -onlcr
for module in $(cat /loaded); do insmod /modules/$module.ko || echo "guest: $module cannot be loaded"; done
echo  # ends the line that the firmware of the PC began
echo "{STARTED}"
while IFS= read -r line; do eval "$line"; code=$?; echo; echo "guest: $code"; done
"""


class Missing(Exception):  # noqa: N818 - it is not an error of the test
    """Something the guest is made of is not on this computer."""


class Archive:
    """A cpio archive in the "newc" format (Linux: early-userspace/buffer-format)."""

    def __init__(self) -> None:
        self._octets = bytearray()
        self._folders: set[str] = set()

    def folder(self, path: str) -> None:
        """A folder, and those it is in."""
        parent = path.rpartition("/")[0]
        if path and path not in self._folders:
            self.folder(parent)
            self._folders.add(path)
            self._entry(path, 0o040755, b"")

    def file(self, path: str, content: bytes, mode: int = 0o755) -> None:
        """A regular file."""
        path = path.lstrip("/")
        self.folder(path.rpartition("/")[0])
        self._entry(path, 0o100000 | mode, content)

    def finish(self) -> bytes:
        """The whole archive."""
        self._entry("TRAILER!!!", 0, b"")
        return bytes(self._octets.ljust((len(self._octets) + 511) // 512 * 512, b"\0"))

    def _entry(self, name: str, mode: int, content: bytes) -> None:
        fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        self._octets += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        self._pad()
        self._octets += content
        self._pad()

    def _pad(self) -> None:
        self._octets += bytes(-len(self._octets) % 4)


@dataclass(frozen=True, slots=True)
class Image:
    """A guest that has booted."""

    state: Path
    """What QEMU saved of it."""
    dependencies: dict[str, list[str]]
    """What each kernel module needs."""

    def in_order(self, modules: Sequence[str]) -> list[str]:
        """Modules and what they need, needed ones first."""
        return _in_order(self.dependencies, modules)


def build() -> Image:
    """The saved guest; booted if there is none yet. Raises Missing, and MonitorError if QEMU cannot save it."""
    for program in (PROGRAM, "busybox", "gcc", "depmod"):
        if _which(program) is None:
            raise Missing(f"{program} is not installed; tests/real/install-packages installs it")
    images = sorted((KERNEL / "boot").glob("vmlinuz-*"))
    if not images:
        raise Missing("no kernel under .cache/kernel; tests/real/fetch-kernel fetches one")
    version = images[-1].name.removeprefix("vmlinuz-")
    folder = BUILT / f"{version}-{_recipe()}"
    if not folder.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="guest-", dir=BUILT, ignore_cleanup_errors=True) as name:
            fresh = Path(name, "image")
            fresh.mkdir()
            (fresh / "modules.dep").write_text(_dependencies(version))
            _boot_and_save(_unpack_kernel(images[-1].read_bytes()), _initramfs(version), fresh / "state")
            with contextlib.suppress(OSError):  # another process was quicker
                fresh.rename(folder)
    return Image(folder / "state", _read_dependencies((folder / "modules.dep").read_text()))


def write_disk(disk: IO[bytes], files: Mapping[str, bytes]) -> None:
    """Make a guest's disk: an archive of files by their path, and nothing else."""
    archive = Archive()
    for path, content in files.items():
        archive.file(path, content)
    octets = archive.finish()
    assert len(octets) <= FILES_SIZE, f"{len(octets)} octets are too much for the disk of {FILES_SIZE}"
    disk.write(octets)
    disk.truncate(FILES_SIZE)
    disk.flush()


def hardware(disk: str, parallel: str = "null") -> list[str]:
    """Arguments of QEMU for the PC. `parallel` is a -chardev but for its id, `disk` a file of FILES_SIZE octets."""
    behind = ["-chardev", f"{parallel},id=cable", "-drive", f"if=none,id=files,format=raw,readonly=on,file={disk}"]
    return [*PC, *behind]


def restored(image: Image) -> list[str]:
    """Arguments of QEMU with which it begins as the saved guest; `go_on()` lets that run."""
    return ["-incoming", f"exec:cat {shlex.quote(str(image.state))}"]


def go_on(qemu: QemuProcess) -> None:
    """Wait until the state is restored, and run on. Raises MonitorError."""
    _poll(qemu, "query-status", {"inmigrate"}, "paused")
    qemu.ask("cont")


def _boot_and_save(kernel: bytes, initramfs: bytes, state: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        vmlinux, initrd, disk = (Path(folder, name) for name in ("vmlinux", "initrd", "disk"))
        vmlinux.write_bytes(kernel)
        initrd.write_bytes(initramfs)
        with disk.open("wb") as file:
            write_disk(file, {})
        boot = ["-kernel", str(vmlinux), "-initrd", str(initrd), "-append", BOOT]
        with QemuProcess([*hardware(str(disk)), *boot]) as qemu:
            qemu.read_until(STARTED, BOOT_SECONDS)
            qemu.ask("stop")
            qemu.ask("migrate", {"uri": f"exec:cat > {shlex.quote(str(state))}"})
            _poll(qemu, "query-migrate", {"setup", "active", "device"}, "completed")


def _poll(qemu: QemuProcess, question: str, unfinished: set[str], wanted: str) -> None:
    """Ask until the status is none of the unfinished ones. Raises MonitorError if it is not the wanted one then."""
    end = time.monotonic() + STATE_SECONDS
    while (answer := qemu.ask(question)).get("status") in unfinished and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
    if answer.get("status") != wanted:
        raise MonitorError(f"{question}: wanted {wanted}, got {answer}")


def _recipe() -> str:
    """Changes with all that the saved state depends on, but for the kernel."""
    qemu = os.stat(os.path.realpath(_which(PROGRAM) or ""))
    ingredients = [
        Path(__file__).read_bytes(),
        (HERE / "guest.c").read_bytes(),
        b"%d %d" % (qemu.st_size, qemu.st_mtime_ns),
    ]
    return hashlib.sha256(b"\0".join(ingredients)).hexdigest()[:12]


def _which(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _unpack_kernel(image: bytes) -> bytes:
    """The ELF file inside, which QEMU starts without a boot sector; the image itself if it is not packed by xz."""
    at = image.find(XZ)
    return lzma.LZMADecompressor().decompress(image[at:]) if at >= 0 else image


def _initramfs(version: str) -> bytes:
    archive = Archive()
    archive.file("init", INIT.encode())
    archive.file("bin/busybox", Path(_which("busybox") or "").read_bytes())
    archive.file("bin/lp", _compile(HERE / "guest.c"))
    for path in _with_libraries(PROGRAMS):
        archive.file(path, Path(path).read_bytes())
    dependencies = _read_dependencies(_dependencies(version))
    archive.file("loaded", " ".join(_in_order(dependencies, LOADED)).encode())
    sources = {_module_name(path): path for path in (KERNEL / "lib/modules" / version).rglob("*.ko*")}
    for name in _in_order(dependencies, DRIVERS):
        archive.file(f"modules/{name}.ko", _module(sources[name]))
    return gzip.compress(archive.finish(), 1)


def _compile(source: Path) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "program")
        subprocess.run(["gcc", "-O2", "-static", "-o", program, source], check=True, timeout=60)
        return program.read_bytes()


def _with_libraries(programs: Sequence[str]) -> Iterator[str]:
    found = {}
    for program in programs:
        if Path(program).exists():
            listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True, timeout=30).stdout
            found |= dict.fromkeys([program, *re.findall(r"(/\S+) \(0x", listed)])
    yield from found


def _module(path: Path) -> bytes:
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content


def _module_name(path: Path | str) -> str:
    """Modules are named with `-` or `_`, and mean the same."""
    return Path(path).name.split(".ko")[0].replace("-", "_")


def _dependencies(version: str) -> str:
    """modules.dep, which the package leaves to its installation."""
    folder = KERNEL / "lib/modules" / version
    if not (folder / "modules.dep").exists():
        subprocess.run([_which("depmod") or "", "-b", KERNEL, version], check=True, timeout=60)
    return (folder / "modules.dep").read_text()


def _read_dependencies(text: str) -> dict[str, list[str]]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {_module_name(path): [_module_name(needed) for needed in rest.split()] for path, _, rest in pairs}


def _in_order(dependencies: dict[str, list[str]], wanted: Sequence[str]) -> list[str]:
    """Modules and what they need, needed ones first; what is no module is part of the kernel."""
    order: dict[str, None] = {}
    for name in map(_module_name, wanted):
        for needed in [*reversed(dependencies.get(name, [])), *([name] if name in dependencies else [])]:
            order.setdefault(needed)
    return list(order)
