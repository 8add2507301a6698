"""`python -m fauxfax_tools` is `fauxfax-tool`."""

from __future__ import annotations

from fauxfax_tools.cli import main

main()
