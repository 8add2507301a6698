"""`python -m fauxfax` is the `fauxfax` command."""

from __future__ import annotations

from fauxfax.cli import main

main()
