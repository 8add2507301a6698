"""The mails of `fax_mails`, opened."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fauxfax.ifax.mail import open_document
from fax_mails import BUILDERS, RASTER


@pytest.mark.parametrize(("build", "text_pages"), BUILDERS.items(), ids=[build.__name__ for build in BUILDERS])
def test_the_fax_in_the_mail_is_printed_page_by_page(build: Callable[[], bytes], text_pages: int) -> None:
    document = open_document(build())
    assert document.failure == ""
    assert len(document.pages) == text_pages + 2
    assert all(page.raster.rows == RASTER.rows for page in document.pages[-2:])
    assert not document.notification
