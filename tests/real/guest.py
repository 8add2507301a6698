"""A guest of QEMU under software emulation: a Debian kernel, busybox, and a shell that a test talks to.

    with Guest(modules=("xhci-pci", "usblp"), devices=["-device", "qemu-xhci", …]) as guest:
        assert guest.run("cat /sys/class/usbmisc/lp0/device/ieee1284_id") == …

The kernel is what `fetch-kernel` put under .cache/kernel, the rest is built into .cache/guest once. Hardware
virtualisation is never needed. What is missing raises `Missing` with what to install.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import lzma
import os
import queue
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache"
KERNEL = CACHE / "kernel"
BUILT = CACHE / "guest"
XZ = b"\xfd7zXZ\0"
BOOT_SECONDS = 40.0
RUN_SECONDS = 30.0
STARTED = "guest: ready"
PROGRAMS = ("/usr/sbin/usbip",)
"""Programs of this computer that the guest gets, each with its libraries."""
SHARE = ["-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"]
"""Arguments of QEMU that show the guest this computer's files."""
SHARE_DRIVERS = ("virtio_pci", "9pnet_virtio", "9p")
MOUNT_SHARE = (
    "mkdir /host && mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 host /host"
    " && for part in dev proc sys; do mount -o bind /$part /host/$part; done"
)
INIT = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /tmp /var/run/vhci_hcd
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -echo -onlcr
for module in $(cat /order); do insmod /modules/$module.ko || echo "guest: $module cannot be loaded"; done
echo  # ends the line that the firmware of the PC began
echo "{STARTED}"
while IFS= read -r line; do eval "$line"; code=$?; echo; echo "guest: $code"; done
"""


class Missing(Exception):  # noqa: N818 - it is not an error of the test
    """Something the guest is made of is not on this computer."""


class Initramfs:
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


class Guest:
    """One guest: booted on entry, killed on exit.

    Args:
        modules: kernel modules to load, in order; what they depend on is loaded before them.
        devices: arguments of QEMU that give it its hardware.
        files: more files, by their path in the guest.
    """

    def __init__(self, modules: Sequence[str], devices: Sequence[str], files: dict[str, bytes] | None = None) -> None:
        self._modules = modules
        self._devices = devices
        self._files = files or {}
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._said: list[str] = []

    def __enter__(self) -> Guest:
        vmlinux, base, order = build()
        extra = Initramfs()
        extra.file("order", " ".join(_in_order(order, self._modules)).encode())
        for path, content in self._files.items():
            extra.file(path, content)
        self._initrd = tempfile.NamedTemporaryFile(suffix=".cpio")
        self._initrd.write(base.read_bytes() + extra.finish())
        self._initrd.flush()
        command = [
            "qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "qemu64", "-smp", "1", "-m", "512",
            "-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-serial", "stdio",
            "-kernel", str(vmlinux), "-initrd", self._initrd.name,
            "-append", "console=ttyS0 quiet panic=-1 nokaslr mitigations=off rdinit=/init", *self._devices,
        ]  # fmt: skip
        self._qemu = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self._until(STARTED, BOOT_SECONDS)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kill it."""
        self._qemu.kill()
        self._qemu.wait()
        for stream in (self._qemu.stdin, self._qemu.stdout):
            with contextlib.suppress(OSError):
                stream and stream.close()
        self._initrd.close()

    def run(self, command: str, seconds: float = RUN_SECONDS, *, expect: int | None = 0) -> str:
        """Run a line of shell. Returns what it said; its exit code must be `expect`, unless that is None."""
        self.begin(command)
        return self.finish(seconds, expect=expect)

    def python(self, *words: str, seconds: float = RUN_SECONDS) -> str:
        """Run this very Python, from this computer's files, which SHARE and SHARE_DRIVERS let the guest see."""
        self.run(f"[ -d /host ] || {{ {MOUNT_SHARE}; }}")
        words = (sys.executable, *words)
        return self.run(f"chroot /host {shlex.join(words)} > /said 2>&1; x=$?; cat /said; (exit $x)", seconds)

    def begin(self, command: str) -> None:
        """Run a line of shell, and do something else meanwhile."""
        assert "\n" not in command
        assert self._qemu.stdin is not None
        self._qemu.stdin.write(command + "\n")
        self._qemu.stdin.flush()

    def finish(self, seconds: float = RUN_SECONDS, *, expect: int | None = 0) -> str:
        """What the line that `begin()` ran has said."""
        lines, ending = self._until(r"guest: (\d+)", seconds)
        text = "\n".join(lines).rstrip("\n")
        code = int(ending.rpartition(" ")[2])
        assert expect is None or code == expect, f"exit code {code}, not {expect}; it said: {text}"
        return text

    def wait_for(self, condition: str, seconds: float = 20.0) -> None:
        """Wait until a shell condition holds."""
        tries = int(seconds * 20)
        self.run(f"n=0; until {condition}; do n=$((n+1)); [ $n -gt {tries} ] && break; usleep 50000; done; {condition}")

    def _listen(self) -> None:
        assert self._qemu.stdout is not None
        with contextlib.suppress(ValueError, OSError):  # closed under our hands
            for line in self._qemu.stdout:
                self._lines.put(line.rstrip("\r\n"))
        self._lines.put(None)

    def _until(self, pattern: str, seconds: float) -> tuple[list[str], str]:
        """The lines up to one that is the pattern, and that line."""
        end, lines = time.monotonic() + seconds, []
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"the guest did not say {pattern!r} in {seconds:g} s, but: {lines}") from None
            if line is None:
                raise AssertionError(f"the guest ended; its last words: {lines[-20:]}")
            if re.fullmatch(pattern, line):
                return lines, line
            lines.append(line)


# What the guest is made of ---------------------------------------------------------------------------------------


def build() -> tuple[Path, Path, dict[str, list[str]]]:
    """The kernel, the common initramfs, and what each module depends on; built if not there yet. Raises Missing."""
    for program in ("qemu-system-x86_64", "busybox", "gcc", "depmod"):
        if _which(program) is None:
            raise Missing(f"{program} is not installed; tests/real/install-packages installs it")
    images = sorted((KERNEL / "boot").glob("vmlinuz-*"))
    if not images:
        raise Missing("no kernel under .cache/kernel; tests/real/fetch-kernel fetches one")
    version = images[-1].name.removeprefix("vmlinuz-")
    recipe = hashlib.sha256(Path(__file__).read_bytes() + (HERE / "guest.c").read_bytes()).hexdigest()
    folder = BUILT / f"{version}-{recipe[:12]}"
    if not folder.exists():
        fresh = Path(tempfile.mkdtemp(prefix="guest-", dir=_made(BUILT)))
        (fresh / "vmlinux").write_bytes(_unpack_kernel(images[-1].read_bytes()))
        (fresh / "initrd.gz").write_bytes(_initramfs(version))
        (fresh / "modules.dep").write_text(_dependencies(version))
        with contextlib.suppress(OSError):  # another process was quicker
            fresh.rename(folder)
    return folder / "vmlinux", folder / "initrd.gz", _read_dependencies((folder / "modules.dep").read_text())


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _which(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _unpack_kernel(image: bytes) -> bytes:
    """The ELF file inside, which QEMU starts without a boot sector; the image itself if it is not packed by xz."""
    at = image.find(XZ)
    return lzma.LZMADecompressor().decompress(image[at:]) if at >= 0 else image


DRIVERS = (
    "xhci-pci", "ehci-pci", "uhci-hcd", "usblp", "vhci-hcd", "parport_pc", "ppdev", "lp", "virtio_net", "virtio_pci",
    "9p", "9pnet_virtio",
)  # fmt: skip


def _initramfs(version: str) -> bytes:
    archive = Initramfs()
    archive.file("init", INIT.encode())
    archive.file("bin/busybox", Path(_which("busybox") or "").read_bytes())
    archive.file("bin/lp", _compile(HERE / "guest.c"))
    for path in _with_libraries(PROGRAMS):
        archive.file(path, Path(path).read_bytes())
    dependencies = _read_dependencies(_dependencies(version))
    sources = {_module_name(path): path for path in (KERNEL / "lib/modules" / version).rglob("*.ko*")}
    for name in _in_order(dependencies, DRIVERS):
        archive.file(f"modules/{name}.ko", _module(sources[name]))
    packed = gzip.compress(archive.finish(), 1)
    return packed + bytes(-len(packed) % 4)  # where the next archive may begin


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
