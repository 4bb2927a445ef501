"""What `/metrics` shows: the store's counters, who is on which screen, and our processes.

Everything is read when it is asked for, so that one answer tells of all relay workers and nothing
is lost with one of them. Labels are kinds of channel, reasons and the like, from small sets; no
console, person, address or token is in them.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from broker import __version__
from broker.latency import LAST, PER_DOUBLING, Counts, middle, upper_bound
from broker.model import Session
from broker.runtime.counters import kind_of

BOUNDS: Final = range(4 * PER_DOUBLING, LAST + 1, PER_DOUBLING)
"""The buckets that are shown: each doubling from 16 µs to 67 s."""


@dataclass(frozen=True, slots=True)
class Family:
    """One counter of the store as a metric.

    Attributes:
        key: What its names in the store begin with; its labels follow.
    """

    key: str
    name: str
    help: str
    labels: tuple[str, ...] = ()


COUNTERS: Final = (
    Family("opened", "broker_sessions_opened", "Sessions that a token opened."),
    Family("ended", "broker_sessions_ended", "Sessions that ended.", ("reason",)),
    Family("refused", "broker_refused", "Connections that were turned away.", ("reason",)),
    Family("channels", "broker_channels_opened", "Channels that were opened.", ("channel",)),
    Family(
        "bytes",
        "broker_bytes",
        "Bytes relayed to viewers (client) and machines (server).",
        ("to", "channel"),
    ),
    Family(
        "messages",
        "broker_messages_judged",
        "Messages that the firewall refused or let by (warned), or that a link's policy dropped.",
        ("verdict", "channel"),
    ),
)
HISTOGRAMS: Final = (
    Family("ping", "broker_ping_seconds", "From PING to the viewer's PONG.", ("channel",)),
    Family("draw", "broker_key_to_draw_seconds", "From a key to the next drawing, at the proxy."),
    Family("proxy", "broker_relay_seconds", "From being woken for bytes to having written them."),
    Family("lag", "broker_worker_lag_seconds", "How late timers of workers with sessions are."),
)
_APPROXIMATE: Final = " The sum takes each time for the middle of its bucket, within 5 %."


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process uses of the host, from /proc."""

    resident: int
    """Bytes."""
    cpu: float
    """Seconds, user and system."""
    descriptors: int


class Metrics(Collector):
    """Reads all of it anew for each answer.

    Args:
        counts: The store's counters.
        sessions: The live sessions.
        processes: Our processes by what they are: `supervisor`, `worker-0`, …
    """

    def __init__(
        self,
        counts: Callable[[], Mapping[str, float]],
        sessions: Callable[[], Iterable[Session]],
        processes: Callable[[], Mapping[str, int]],
    ) -> None:
        self._counts = counts
        self._sessions = sessions
        self._processes = processes

    def collect(self) -> Iterator[Metric]:
        """Every metric; raises what the store raises."""
        yield InfoMetricFamily("broker_build", "The version.", value={"version": __version__})
        by_key = _by_family(self._counts())
        for family in COUNTERS:
            yield _counter(family, by_key[family.key])
        for family in HISTOGRAMS:
            yield _histogram(family, by_key[family.key])
        yield from _live(tuple(self._sessions()))
        yield from _used(self._processes())


Labelled = dict[tuple[str, ...], float]


def _by_family(counts: Mapping[str, float]) -> defaultdict[str, Labelled]:
    found: defaultdict[str, Labelled] = defaultdict(dict)
    for name, value in counts.items():
        key, *labels = name.split(":")
        found[key][tuple(labels)] = value
    return found


def _counter(family: Family, values: Labelled) -> Metric:
    metric = CounterMetricFamily(family.name, family.help, labels=family.labels)
    if not family.labels:
        values = {(): values.get((), 0.0)}
    for labels, value in sorted(values.items()):
        if len(labels) == len(family.labels):
            metric.add_metric(labels, value)
    return metric


def _histogram(family: Family, values: Labelled) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help + _APPROXIMATE, labels=family.labels)
    by_labels: defaultdict[tuple[str, ...], dict[int, int]] = defaultdict(dict)
    for (*before, bucket), value in values.items():
        by_labels[tuple(before)][int(bucket)] = int(value)
    if not family.labels:
        by_labels[()]  # shown also before there is anything to show
    for labels, counts in sorted(by_labels.items()):
        metric.add_metric(labels, _cumulative(counts), sum_value=_sum(counts))
    return metric


def _cumulative(counts: Counts) -> list[tuple[str, float]]:
    total = sum(counts.values())
    shown = [
        (repr(upper_bound(bound)), float(sum(n for b, n in counts.items() if b <= bound)))
        for bound in BOUNDS
    ]
    return [*shown, ("+Inf", float(total))]


def _sum(counts: Counts) -> float:
    return sum(middle(bucket) * count for bucket, count in counts.items())


def _live(sessions: tuple[Session, ...]) -> Iterator[Metric]:
    yield GaugeMetricFamily("broker_sessions", "Live sessions.", value=len(sessions))
    channels = Counter(kind_of(channel.name) for one in sessions for channel in one.channels)
    metric = GaugeMetricFamily("broker_channels", "Live channels.", labels=("channel",))
    for kind, count in sorted(channels.items()):
        metric.add_metric((kind,), count)
    yield metric


def _used(processes: Mapping[str, int]) -> Iterator[Metric]:
    label = ("process",)
    resident = GaugeMetricFamily(
        "broker_process_resident_memory_bytes", "Resident memory.", labels=label
    )
    cpu = CounterMetricFamily("broker_process_cpu_seconds", "User and system time.", labels=label)
    open_fds = GaugeMetricFamily("broker_process_open_fds", "Open descriptors.", labels=label)
    for process, pid in processes.items():
        if (usage := usage_of(pid)) is not None:
            resident.add_metric((process,), usage.resident)
            cpu.add_metric((process,), usage.cpu)
            open_fds.add_metric((process,), usage.descriptors)
    yield from (resident, cpu, open_fds)


def usage_of(pid: int) -> Usage | None:
    """What a process of ours uses; None when it has ended, or on a system without /proc."""
    directory = Path(f"/proc/{pid}")
    try:
        fields = (directory / "stat").read_text().rpartition(")")[2].split()
        descriptors = sum(1 for _ in (directory / "fd").iterdir())
    except OSError:
        return None
    return Usage(
        resident=int(fields[21]) * os.sysconf("SC_PAGE_SIZE"),
        cpu=(int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        descriptors=descriptors,
    )
