import json
from pathlib import Path

import pytest

from broker.spice.ticket import TicketKey

RECORDINGS = Path(__file__).parent / "recordings"


@pytest.fixture(scope="session")
def key() -> TicketKey:
    return TicketKey.from_pem((RECORDINGS / "ticket-key.pem").read_bytes())


def recording(name: str) -> dict[str, bytes]:
    stored = json.loads((RECORDINGS / f"{name}.json").read_text())
    return {channel: bytes.fromhex(text) for channel, text in stored.items()}
