"""Fixtures made of real programs."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.guests import Guest, Home, running_guest, temporary_home


@pytest.fixture
def home() -> Iterator[Home]:
    """Short, private directories for VMs of this test."""
    with temporary_home() as made:
        yield made


@pytest.fixture
async def demo_guest(home: Home) -> AsyncIterator[Guest]:
    """The demo guest, up: banner said, block black, serial line connected and quiet."""
    async with running_guest(home) as guest:
        yield guest
