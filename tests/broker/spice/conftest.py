import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from broker.spice.ticket import TicketKey

RECORDINGS = Path(__file__).parent / "recordings"


@pytest.fixture(scope="session")
def key() -> TicketKey:
    private = load_pem_private_key((RECORDINGS / "ticket-key.pem").read_bytes(), None)
    assert isinstance(private, RSAPrivateKey)
    return TicketKey(private)


def recording(name: str) -> dict[str, bytes]:
    stored = json.loads((RECORDINGS / f"{name}.json").read_text())
    return {channel: bytes.fromhex(text) for channel, text in stored.items()}
