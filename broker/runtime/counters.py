"""What a relay worker counts for `/metrics`: only ever more, added to the store's counters.

A counter's name is a family and its labels, joined by colons: `refused:token-used`. Labels come
from small sets (kinds of channel, stable reasons); never a console, a person or an address.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from broker.latency import Counts, bucket_of
from broker.model import ChannelInfo
from broker.proxy.gate import ChannelClosed, Judged, Timed, Traffic

NAMES_MAX: Final = 2000
"""Names that one worker uses; a label that should not vary and does must not fill the store."""
REASON_MAX: Final = 40
"""Characters of a reason that may be a label."""


class Counters:
    """Counts until they are taken away."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._known: set[str] = set()

    def add(self, family: str, *labels: str, more: int = 1) -> None:
        """Count; past `NAMES_MAX` names the last label is `other`."""
        name = ":".join((family, *(_label(each) for each in labels)))
        if name not in self._known:
            if len(self._known) >= NAMES_MAX and labels:
                name = ":".join((family, *(_label(each) for each in labels[:-1]), "other"))
            self._known.add(name)
        if more > 0:
            self._counts[name] += more

    def carried(self, before: ChannelInfo, notice: Traffic | ChannelClosed) -> None:
        """Bytes that a channel has carried since it was looked at before."""
        kind = kind_of(notice.channel)
        self.add("bytes", "client", kind, more=notice.bytes_to_client - before.bytes_to_client)
        self.add("bytes", "server", kind, more=notice.bytes_to_server - before.bytes_to_server)

    def timed(self, before: ChannelInfo, notice: Timed) -> None:
        """Times that a channel has shown since."""
        old, new = before.timing, notice.timing
        self._buckets(("ping", kind_of(notice.channel)), old.ping, new.ping)
        self._buckets(("draw",), old.draw, new.draw)
        self._buckets(("proxy",), old.proxy, new.proxy)

    def judged(self, notice: Judged) -> None:
        """What the firewall did with messages."""
        for _, count in notice.messages:
            self.add("messages", notice.verdict, kind_of(notice.channel), more=count)

    def lagged(self, seconds: float) -> None:
        """The event loop was that late."""
        if seconds >= 0:
            self.add("lag", str(bucket_of(seconds)))

    def take(self) -> dict[str, float]:
        """What was counted since it was last taken."""
        counts, self._counts = self._counts, Counter()
        return {name: float(count) for name, count in counts.items()}

    def give_back(self, counts: dict[str, float]) -> None:
        """It could not be written."""
        self._counts.update({name: int(count) for name, count in counts.items()})

    def __bool__(self) -> bool:
        return bool(self._counts)

    def _buckets(self, name: tuple[str, ...], old: Counts, new: Counts) -> None:
        for bucket, count in new.items():
            if (more := count - old.get(bucket, 0)) > 0:
                self.add(*name, str(bucket), more=more)


def kind_of(channel: str) -> str:
    """`display` of `display.0`."""
    return channel.partition(".")[0]


def _label(text: str) -> str:
    return text[:REASON_MAX].replace(":", "-")
