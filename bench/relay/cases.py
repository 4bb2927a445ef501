"""What is measured, each case once per contender and round."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from bench.relay.contenders import Contender
from bench.relay.runs import Bench, Layout, RunFailed

KIB, MIB = 1024, 1024 * 1024
SIZES = {"256 B": 256, "4 KiB": 4 * KIB, "64 KiB": 64 * KIB, "1 MiB": MIB}
LARGEST = {"33 MB": 3840 * 2160 * 4, "200 MB": 200_000_000, "256 MiB": 256 * MIB}
IDLE_CHANNELS = 1000
STALLED_CHANNELS = 64

Values = dict[str, float]
"""Figures by their names."""


@dataclass
class Samples:
    """Everything that was measured: figure, contender, one value per round."""

    found: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def add(self, contender: str, values: Values) -> None:
        """One round's."""
        for figure, value in values.items():
            self.found.setdefault(figure, {}).setdefault(contender, []).append(value)

    def of(self, figure: str, contender: str) -> list[float]:
        """All rounds of one figure; empty when it was not measured."""
        return self.found.get(figure, {}).get(contender, [])


@dataclass(frozen=True, slots=True)
class Case:
    """Something to measure.

    Attributes:
        run: Measures it on one contender.
        proxied: Says nothing about the direct way.
    """

    name: str
    run: Callable[[Contender], Values]
    proxied: bool = False


def in_turns(
    cases: Iterable[Case], contenders: Sequence[Contender], rounds: int, samples: Samples
) -> None:
    """Every case on every contender in turns; who begins changes from round to round.

    A run that fails is told and leaves a gap: the others are still worth having.
    """
    cases = list(cases)
    for turn in range(rounds):
        order = [*contenders[turn % len(contenders) :], *contenders[: turn % len(contenders)]]
        for case in cases:
            for contender in order:
                if not (case.proxied and not contender.pids):
                    attempt(case, contender, samples)


def attempt(case: Case, contender: Contender, samples: Samples) -> None:
    """One run of one case."""
    try:
        samples.add(contender.name, case.run(contender))
    except RunFailed as exc:
        samples.failed.append(f"{case.name}, {contender.name}: {exc}")


def throughput(
    bench: Bench,
    layout: Layout,
    seconds: float,
    sizes: dict[str, int] | None = None,
    *,
    tls: str = "1.3",
) -> list[Case]:
    """Bytes per second and CPU seconds per GB, by message size, with one channel and four."""

    def case(channels: int, name: str, body: int) -> Case:
        title = f"{channels} x {name}" + (f", TLS {tls}" if tls != "1.3" else "")

        def run(contender: Contender) -> Values:
            result = bench.run(
                contender, layout, "drain", tls=tls, channels=channels, body=body, seconds=seconds
            )
            moved = result.said["bytes"]
            found = {f"MB/s, {title}": moved / result.said["seconds"] / 1e6}
            if contender.pids:
                found[f"CPU s/GB, {title}"] = result.cpu / (moved / 1e9)
            return found

        return Case(title, run)

    chosen = SIZES if sizes is None else sizes
    return [case(channels, *size) for channels in (1, 4) for size in chosen.items()]


def round_trips(bench: Bench, layouts: dict[str, Layout], seconds: float) -> list[Case]:
    """One input, four at once, one beside a display; p50, p99, and CPU per round trip."""

    def case(title: str, layout: Layout, *, channels: int = 1, beside: int = 0) -> Case:
        def run(contender: Contender) -> Values:
            result = bench.run(
                contender, layout, "ping", seconds=seconds, channels=channels, beside=beside
            )
            found = {f"RTT p50, {title}": result.said["p50"]}
            found[f"RTT p99, {title}"] = result.said["p99"]
            if contender.pids and not beside:
                found[f"CPU us/trip, {title}"] = result.cpu / result.said["trips"] * 1e6
            return found

        return Case(title, run)

    pinned = layouts["pinned"]
    return [
        case("1 channel", pinned),
        case("1 channel, one CPU", layouts["one"]),
        case("4 channels", pinned, channels=4),
        case("beside 100 MB/s", pinned, beside=100),
    ]


def handshakes(bench: Bench, layout: Layout, seconds: float) -> list[Case]:
    """Links per second, one and eight at a time: a channel of a live session, or a new session."""

    def case(mode: str, what: str, at_once: int) -> Case:
        title = f"{what}, {at_once} at a time"

        def run(contender: Contender) -> Values:
            result = bench.run(contender, layout, mode, at_once=at_once, seconds=seconds)
            links = result.said["links"]
            if not links:
                raise RunFailed("not one link")
            found = {f"links/s, {title}": links / result.said["seconds"]}
            if contender.pids:
                found[f"CPU ms/link, {title}"] = result.cpu / links * 1e3
            if result.said["failed"]:
                found[f"links refused, {title}"] = result.said["failed"]
            return found

        return Case(title, run)

    kinds = {"storm": "channels", "storm-main": "sessions"}
    return [case(mode, what, n) for mode, what in kinds.items() for n in (1, 8)]


def in_a_storm(bench: Bench, layout: Layout, seconds: float) -> Case:
    """An open session's round trips while two viewers connect anew without pause."""

    def run(contender: Contender) -> Values:
        pinged, links = bench.ping_in_storm(contender, layout, at_once=2, seconds=seconds)
        return {
            "RTT p50, in a storm": pinged.said["p50"],
            "RTT p99, in a storm": pinged.said["p99"],
            "links/s meanwhile, in a storm": links,
        }

    return Case("in a storm", run, proxied=True)


Fresh = Callable[[], AbstractContextManager[Contender]]
"""Starts a contender anew, for what depends on its past."""


def idle_memory(bench: Bench, layout: Layout, fresh: Fresh, samples: Samples) -> None:
    """Memory of a process that has just started, and of its first thousand idle channels."""
    with fresh() as contender:
        before, after = bench.idle(contender, layout, IDLE_CHANNELS)
        values = {
            "MB RSS, 1,000 idle channels": (after.rss - before.rss) / 1024,
            "MB PSS, 1,000 idle channels": (after.pss - before.pss) / 1024,
            "MB PSS, no channel": before.pss / 1024,
        }
        samples.add(contender.name, values)


def stalled_memory(
    bench: Bench, layout: Layout, fresh: Fresh, samples: Samples, sizes: Iterable[str]
) -> None:
    """Growth while 64 clients do not read what is sent to them, after 2 s and after 4 s."""
    for size in sizes:
        with fresh() as contender:
            grown = bench.growth(
                contender, layout, channels=STALLED_CHANNELS, body=SIZES[size], looks=2
            )
            samples.add(
                contender.name,
                {
                    f"kB per channel not read, {size}": grown[0],
                    f"kB per channel not read, {size}, 2 s later": grown[1],
                },
            )


def largest(bench: Bench, layout: Layout) -> list[Case]:
    """Whether one message of that size arrives whole; every byte is checked. 1 is yes, 0 no."""

    def case(name: str, body: int) -> Case:
        def run(contender: Contender) -> Values:
            try:
                whole = float(bench.run(contender, layout, "verify", body=body).said["whole"])
            except RunFailed:  # a proxy may end the session for it
                whole = 0.0
            return {f"passes, {name}": whole}

        return Case(f"one message of {name}", run)

    return [case(*size) for size in LARGEST.items()]
