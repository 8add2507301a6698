"""The one root of every exception fauxfax raises, and its three kinds.

A caller's mistake is a :class:`Misuse` and is raised at once. What the outside world sends wrong is a
:class:`FormatError` inside the project and becomes a protocol reply before it leaves a room. A simulated
defect is a :class:`Defect`: the machine is broken as it was told to be. They are never mixed.
"""

from __future__ import annotations


class FauxfaxError(Exception):
    """Root of all. `str()` names the object, the operation and the state; the data are attributes."""


class Misuse(FauxfaxError, ValueError):  # noqa: N818 - the word of the house
    """The caller asked for something the object cannot do in this state or with these arguments."""


class FormatError(FauxfaxError):
    """Octets from outside are not what their format says.

    Attributes:
        what: what is wrong, as a sentence without a full stop.
        where: the place: `offset 18`, `IFD 2, tag 273`, `line 4`; empty if there is none.
    """

    def __init__(self, what: str, where: str = "") -> None:
        super().__init__(f"{where}: {what}" if where else what)
        self.what = what
        self.where = where


class Defect(FauxfaxError):  # noqa: N818 - the word of the house
    """A defect that was asked for: a flash cell that fails, power that goes away."""
