"""The function parameters: the table comes with the flashed firmware, the values that were set survive it."""

from __future__ import annotations

from collections.abc import Mapping

from fauxfax.errors import Misuse
from fauxfax.machine.database import Database


class Parameters:
    """Number to value. What was never set has the default of the running firmware's table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._defaults: Mapping[int, str] = {}

    def load_table(self, defaults: Mapping[int, str]) -> None:
        """The running firmware's table: number to default."""
        self._defaults = dict(defaults)

    def get(self, number: int) -> str:
        """The value of a parameter. Raises Misuse if this firmware has no such number."""
        if number not in self._defaults:
            raise Misuse(f"parameter {number:03d} is not in this firmware's table")
        row = self._database.quick.execute("SELECT value FROM parameters WHERE number = ?", (number,)).fetchone()
        return str(row[0]) if row else self._defaults[number]

    def set(self, number: int, value: str) -> None:
        """Set a parameter of this firmware's table; the value is kept across updates and power-off."""
        if number not in self._defaults:
            raise Misuse(f"parameter {number:03d} is not in this firmware's table")
        self._database.quick.execute("INSERT OR REPLACE INTO parameters VALUES (?, ?)", (number, value))

    def all(self) -> dict[int, str]:
        """Every parameter of the running firmware."""
        kept = dict(self._database.quick.execute("SELECT number, value FROM parameters").fetchall())
        return {number: kept.get(number, default) for number, default in sorted(self._defaults.items())}
