"""What the firewall did on a channel since it last told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from broker.model import SessionId
from broker.proxy.gate import Judged
from broker.spice.constants import ChannelType
from broker.spice.names import name_of_message

if TYPE_CHECKING:
    from broker.proxy.relay import Relay


def judged(session: SessionId, channel: str, relay: Relay) -> Iterator[Judged]:
    """One notice per kind of verdict; nothing when there was none."""
    taken = [
        (inspector.take_judged(), from_client)
        for inspector, from_client in ((relay.to_server, True), (relay.to_client, False))
    ]
    if not (relay.dropped or taken[0][0] or taken[1][0]):
        return
    kind = ChannelType[channel.partition(".")[0].upper()]
    counts: dict[str, Counter[str]] = {}
    for found, from_client in taken:
        for (verdict, message), count in found.items():
            name = name_of_message(kind, message, from_client=from_client)
            counts.setdefault(verdict, Counter())[name] += count
    if relay.dropped:
        counts.setdefault("dropped", Counter()).update(relay.dropped)
        relay.dropped.clear()
    for verdict, messages in counts.items():
        yield Judged(session, channel, verdict, tuple(messages.most_common()))
