"""Fuzzes the reader of messages: whatever comes, it is a document with pages or with a failure."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["fauxfax.ifax"]):
    from fauxfax.ifax.mail import Limits, error_sheet, open_document
    from fauxfax.ifax.mime import MimeLimits

LIMITS = Limits(mime=MimeLimits(parts=20, nesting=5, separators=100), text_pages=3)


def test_one_input(data: bytes) -> None:
    document = open_document(data, LIMITS)
    assert document.pages or document.failure
    if document.failure:
        error_sheet(document, "me@example.org")


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
