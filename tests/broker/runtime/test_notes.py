"""What a person should hear of, from the database up to the faces."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.config.locations import Locations
from broker.runtime import open_service


def damage(database: Path) -> None:
    for path in database.parent.glob(f"{database.name}*"):
        path.unlink()
    database.write_bytes(b"this is no database" * 500)


async def test_a_service_notes_slips_and_a_damaged_database(
    locations: Locations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_PROXY_WORKRES", "2")
    locations.prepare()
    damage(locations.database)
    async with open_service() as service:
        database, slip = service.notes
    assert "was damaged and is kept as" in database
    assert slip.startswith("BROKER_PROXY_WORKRES sets nothing.")


async def test_a_database_that_is_damaged_while_the_service_is_open_is_noted(
    locations: Locations,
) -> None:
    async with open_service() as service:
        before = service.notes
        damage(locations.database)
        await service.sessions()
        (note,) = service.notes
    assert before == ()
    assert "was damaged and is kept as" in note
