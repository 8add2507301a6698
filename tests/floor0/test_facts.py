from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_facts_says_what_the_code_says() -> None:
    script = runpy.run_path(str(ROOT / "tools" / "facts.py"))
    assert (ROOT / "docs" / "reference" / "facts.md").read_text(encoding="utf-8") == script["page"](), (
        "run `make facts`"
    )
