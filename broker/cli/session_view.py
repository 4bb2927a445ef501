"""How a live session reads: a row, all of it, and its latency split by where it arises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from broker.cli.output import cell_width
from broker.human import age, size
from broker.latency import Tcp, quantile

if TYPE_CHECKING:
    from broker.latency import Counts
    from broker.model import ChannelInfo, Session

HEADINGS = (
    "ID", "WHO", "CONSOLE", "SOURCE", "CLIENT", "AGE", "CH", "TO CLIENT", "TO SERVER", "NOW",
    "PING", "DRAW", "POLICY",
)  # fmt: skip
CHANNEL_HEADINGS = (
    "CHANNEL", "AGE", "TO CLIENT", "TO SERVER", "PING", "CLIENT RTT", "SENT AGAIN", "UNDER WAY",
    "SERVER RTT",
)  # fmt: skip
_FIRST_TO_GO = (3, 8, 12, 7, 6, 4)
"""Columns that a narrow terminal does without, in this order."""
_TOLD = ("inputs", "display", "main")
"""Whose connection tells of the viewer's network: what a person's fingers and eyes go through."""


@dataclass(frozen=True, slots=True)
class Split:
    """Where the time between a key and its answer on the screen goes, in seconds; None: not known.

    Attributes:
        network: The kernel's least round trip to the viewer's host, of the last minutes.
        proxy: Half of all runs of our relay took less.
        guest: From a key passing us to the next drawing passing us: the machine, and the way to it.
        server: The same to the machine; it is in `guest`.
        felt: Network, proxy and guest together.
    """

    network: float | None
    proxy: float | None
    guest: float | None
    server: float | None

    @property
    def felt(self) -> float | None:
        """What a person feels, beside their viewer's own time; None unless all is known."""
        if self.network is None or self.guest is None:
            return None
        return self.network + self.guest + (self.proxy or 0.0)


def split(session: Session) -> Split:
    """Where a session's latency arises, as far as it is known."""
    by_kind = {each.name.partition(".")[0]: each for each in reversed(session.channels)}
    told = [by_kind[kind].timing for kind in _TOLD if kind in by_kind]
    return Split(
        network=_first_rtt([timing.client for timing in told]),
        proxy=quantile(session.timing.proxy, 0.5),
        guest=quantile(session.timing.draw, 0.5),
        server=_first_rtt([timing.server for timing in told]),
    )


def _first_rtt(connections: Sequence[Tcp | None]) -> float | None:
    return next((tcp.network for tcp in connections if tcp is not None), None)


def table(
    live: Sequence[Session], now: datetime, width: int | None
) -> tuple[list[str], list[list[str]]]:
    """Headings and rows, with as many columns as there is room for.

    Args:
        width: Cells of the terminal; None takes all columns.
    """
    rows = [HEADINGS, *(row(session, now) for session in live)]
    kept = list(range(len(HEADINGS)))
    wide = [max(cell_width(cells[column]) for cells in rows) for column in kept]
    for column in _FIRST_TO_GO:
        if width is None or sum(wide[each] + 2 for each in kept) - 2 <= width:
            break
        kept.remove(column)
    headings, *cells = [[line[column] for column in kept] for line in rows]
    return headings, cells


def row(session: Session, now: datetime) -> tuple[str, ...]:
    """Cells under `HEADINGS`."""
    return (
        session.id,
        session.label or "-",
        session.console,
        session.key.source,
        session.client,
        age((now - session.started_at).total_seconds()),
        str(len(session.channels)),
        size(session.bytes_to_client),
        size(session.bytes_to_server),
        rate(session),
        both(session.timing.ping),
        both(session.timing.draw),
        ", ".join(session.policy.words) or "-",
    )


def facts(session: Session, now: datetime) -> Iterator[tuple[str, str]]:
    """Names and values of all but the channels."""
    where = split(session)
    yield "id", session.id
    yield "who", session.label
    yield "console", f"{session.key.source}/{session.console}"
    yield "client", session.client
    yield "for", age((now - session.started_at).total_seconds())
    yield "policy", ", ".join(session.policy.words) or "everything"
    yield "to client", size(session.bytes_to_client)
    yield "to server", size(session.bytes_to_server)
    yield "now", rate(session)
    yield "ping", _at_length(session.timing.ping)
    yield "key to drawing", _at_length(session.timing.draw)
    yield "network", _known(where.network)
    yield "proxy", _known(where.proxy)
    guest = _known(where.guest)
    if guest and where.server is not None:
        guest += f" (of that {milliseconds(where.server)} to the machine and back)"
    yield "guest", guest
    yield "felt", _known(where.felt)


def channel_row(channel: ChannelInfo, now: datetime) -> tuple[str, ...]:
    """Cells under `CHANNEL_HEADINGS`."""
    client, server = channel.timing.client, channel.timing.server
    return (
        channel.name,
        age((now - channel.opened_at).total_seconds()),
        size(channel.bytes_to_client),
        size(channel.bytes_to_server),
        both(channel.timing.ping),
        _round_trip(client),
        str(client.retransmits) if client else "-",
        str(client.unacked) if client else "-",
        _round_trip(server),
    )


def _round_trip(tcp: Tcp | None) -> str:
    """The least, and the smoothed one."""
    return f"{_number(tcp.network)}/{_number(tcp.rtt)} ms" if tcp else "-"


def rate(session: Session) -> str:
    """Bytes a second, both ways."""
    to_client, to_server = size(int(session.rate_to_client)), size(int(session.rate_to_server))
    return f"{to_client}/s {to_server}/s"


def both(counts: Counts) -> str:
    """Median and 95th percentile: `1.2/3.4 ms`; a dash when nothing was seen."""
    middle, most = quantile(counts, 0.5), quantile(counts, 0.95)
    if middle is None or most is None:
        return "-"
    return f"{_number(middle)}/{_number(most)} ms"


def milliseconds(seconds: float) -> str:
    """`0.05 ms`, `1.2 ms`, `250 ms`."""
    return f"{_number(seconds)} ms"


def _known(seconds: float | None) -> str:
    return "" if seconds is None else milliseconds(seconds)


def _number(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _at_length(counts: Counts) -> str:
    if not (times := sum(counts.values())):
        return ""
    return f"{both(counts)} (median and 95th percentile of {times})"


def shares(counts: Counts) -> dict[str, object]:
    """A histogram in JSON: median and 95th percentile in milliseconds, and of how many."""
    return {
        "p50": _rounded(quantile(counts, 0.5)),
        "p95": _rounded(quantile(counts, 0.95)),
        "count": sum(counts.values()),
    }


def split_document(session: Session) -> dict[str, object]:
    """Where the time goes in JSON, in milliseconds; null: not known."""
    where = split(session)
    return {
        "network": _rounded(where.network),
        "proxy": _rounded(where.proxy),
        "guest": _rounded(where.guest),
        "server": _rounded(where.server),
        "felt": _rounded(where.felt),
    }


def connection(tcp: Tcp | None) -> dict[str, object] | None:
    """What the kernel says of a connection in JSON; null where it says nothing."""
    if tcp is None:
        return None
    return {
        "rtt_ms": _rounded(tcp.rtt),
        "rtt_min_ms": _rounded(tcp.rtt_min),
        "retransmits": tcp.retransmits,
        "unacked": tcp.unacked,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
