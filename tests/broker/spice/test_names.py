from __future__ import annotations

import pytest

from broker.spice.constants import ChannelType
from broker.spice.names import name_of_message


@pytest.mark.parametrize(
    ("channel", "kind", "from_client", "name"),
    [
        (ChannelType.INPUTS, 101, True, "key-down"),
        (ChannelType.INPUTS, 111, False, "mouse-motion-ack"),
        (ChannelType.CURSOR, 4, True, "migrate-flush-mark"),
        (ChannelType.CURSOR, 4, False, "ping"),
        (ChannelType.CURSOR, 101, False, "message 101"),
        (ChannelType.MAIN, 999, True, "message 999"),
    ],
)
def test_a_message_is_called_as_the_protocol_calls_it(
    channel: ChannelType, kind: int, from_client: bool, name: str
) -> None:
    assert name_of_message(channel, kind, from_client=from_client) == name
