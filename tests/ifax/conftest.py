from __future__ import annotations

from collections.abc import Callable

import pytest
from ifax_session import Session

from fauxfax.ifax.address import Directory
from fauxfax.ifax.host import Limits, Verdict
from fauxfax.ifax.standalone import StandaloneHost


@pytest.fixture
def directory() -> Directory:
    return Directory(
        domain="uf-8000.local",
        fax_number="+12125551212",
        mailboxes={"fax": "Front Office", "sales": "Sales Department"},
        aliases={"office": "fax", "boss": "boss@example.com", "lost": "nobody"},
        groups={"everyone": ("fax@uf-8000.local", "jane@example.org")},
        address_book={"Jane Doe": "jane@example.org", "John Doe": "john@example.org"},
    )


@pytest.fixture
def host(directory: Directory) -> StandaloneHost:
    return StandaloneHost(directory=directory)


@pytest.fixture
def connect(host: StandaloneHost) -> Callable[..., Session]:
    """Opens a session whose banner has been read."""

    def connect(limits: Limits | None = None, verdict: Verdict = Verdict.STORED) -> Session:
        session = Session(host, limits or Limits(), verdict)
        session.replies()
        return session

    return connect
