"""The lines of a parallel cable as packets of link type USER0, for the dissector `tools/fauxfax-1284.lua`.

octet 0  version, 1
octet 1  number of the standard's event that led here; 255 if a host only changed its lines
octet 2  the host's lines as levels: nStrobe 1, nAutoFd 2, nInit 4, nSelectIn 8
octet 3  the machine's lines as levels: nFault 8, Select 16, PError 32, nAck 64, Busy 128
octet 4  what is on the data lines
then     the phase, in ASCII
"""

from __future__ import annotations

VERSION = 1
NO_EVENT = 255


def levels(event: int, control: int, status: int, data: int, phase: str) -> bytes:
    """One packet: everything on the cable at one moment."""
    return bytes((VERSION, event, control, status, data)) + phase.encode("ascii")
