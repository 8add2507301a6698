"""Programs written for PyUSB, against machines in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
import usb.core
import usb.util
from hostport_memory import DEVICE_ID, MemoryPort, plugged

from fauxfax.hostport.usb import Setup
from fauxfax.servers.pyusb_backend import EmulatedBackend, OtherThread, SameThread


def find(port: MemoryPort, *steps: str) -> usb.core.Device:
    """The device, with a machine that makes room for four octets at each of `steps`."""
    left = list(steps)

    def pump() -> bool:
        if not left:
            return False
        left.pop()
        port.change(space=4)
        return True

    device = usb.core.find(idVendor=0x04DA, backend=EmulatedBackend([lambda: plugged(port)], SameThread(pump)))
    assert device is not None
    device.set_configuration()
    return device


def test_a_program_finds_the_printer_and_reads_who_it_is() -> None:
    device = find(MemoryPort())
    interface = device.get_active_configuration()[0, 0]
    assert (interface.bInterfaceClass, interface.bInterfaceSubClass, interface.bInterfaceProtocol) == (7, 1, 2)
    assert [endpoint.bEndpointAddress for endpoint in interface] == [0x01, 0x82]
    assert [endpoint.wMaxPacketSize for endpoint in interface] == [512, 512]
    assert (device.manufacturer, device.product, device.serial_number) == ("Panasonic", "UF-8000", "EMUFAX1")
    assert bytes(device.ctrl_transfer(0xA1, 0, 0, 0, 1024))[2:].decode() == DEVICE_ID
    assert "DEVICE ID 04da:1500" in str(device)


def test_a_job_goes_out_and_an_answer_comes_back() -> None:
    port = MemoryPort(echo=True)
    device = find(port)
    assert device.write(0x01, b"hello") == 5
    assert bytes(device.read(0x82, 64)) == b"hello"


def test_machine_time_passes_while_a_transfer_waits() -> None:
    port = MemoryPort(space=0)
    device = find(port, "room", "room", "room")
    assert device.write(0x01, b"0123456789") == 10
    assert bytes(port.heard) == b"0123456789"


def test_a_timeout_says_how_much_went_or_that_nothing_did() -> None:
    port = MemoryPort(space=0)
    device = find(port, "room")
    assert device.write(0x01, b"0123456789", 20) == 4
    with pytest.raises(usb.core.USBTimeoutError):
        device.write(0x01, b"456789", 20)
    with pytest.raises(usb.core.USBTimeoutError):
        device.read(0x82, 64, 20)


def test_stall_and_clear_halt() -> None:
    device = find(MemoryPort())
    device.ctrl_transfer(0x02, 3, 0, 0x01)
    with pytest.raises(usb.core.USBError, match="Pipe error"):
        device.write(0x01, b"x")
    device.clear_halt(0x01)
    assert device.write(0x01, b"x") == 1
    with pytest.raises(usb.core.USBError, match="Pipe error"):
        device.ctrl_transfer(0xC0, 0x55, 0, 0, 4)


def test_a_machine_that_is_off_is_not_found_and_one_that_goes_off_is_gone() -> None:
    port = MemoryPort()
    device = find(port)
    port.change(online=False)
    with pytest.raises(usb.core.USBError, match="No such device"):
        device.write(0x01, b"x")
    with pytest.raises(usb.core.USBError, match="No such device"):
        device.ctrl_transfer(0xA1, 1, 0, 0, 1)
    assert usb.core.find(backend=device.backend) is None


def test_an_interface_has_one_owner_and_a_reset_keeps_the_configuration() -> None:
    device = find(MemoryPort())
    usb.util.claim_interface(device, 0)
    other = usb.core.find(backend=device.backend)
    assert other is not None
    with pytest.raises(usb.core.USBError, match="busy"):
        usb.util.claim_interface(other, 0)
    usb.util.release_interface(device, 0)
    usb.util.claim_interface(other, 0)
    device.reset()
    assert device.get_active_configuration().bConfigurationValue == 1


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own, as a machine that is served has."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_machine_in_another_thread_is_waited_for(loop: asyncio.AbstractEventLoop) -> None:
    port = MemoryPort()
    device = usb.core.find(backend=EmulatedBackend([lambda: plugged(port)], OtherThread(loop)))
    assert device is not None
    device.set_configuration()
    loop.call_soon_threadsafe(loop.call_later, 0.02, lambda: port.change(say=b"late"))
    assert bytes(device.read(0x82, 64, 5000)) == b"late"
    with pytest.raises(usb.core.USBTimeoutError):
        device.read(0x82, 64, 10)
    assert device.write(0x01, b"abc") == 3


def test_setups_are_taken_apart_little_endian() -> None:
    assert Setup.parse(bytes.fromhex("a1000100020103ff")) == Setup(0xA1, 0, 1, 0x0102, 0xFF03)
