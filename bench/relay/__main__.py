"""`python -m bench.relay [--quick] [--write]`: measure, print Markdown, keep the samples as JSON.

The full run takes about seven minutes, `--quick` about one; `--write` puts what was measured into
docs/performance.md. On a machine that others use too, `--nice -10` (as root) puts what is measured
first; without it trust the CPU figures, not the clock.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from OpenSSL import SSL

from bench.relay import cases, contenders, goals, kerbside, page, tables
from bench.relay.build import Generator, ToolMissing, build
from bench.relay.runs import Bench, RunFailed, layouts
from bench.relay.watching import prefer
from bench.report import machine

PAGE = contenders.ROOT / "docs" / "performance.md"
OUT = contenders.ROOT / "bench" / "out"
PARTS = ("throughput", "round-trips", "handshakes", "storm", "memory", "largest", "serve")
QUICK = ("throughput", "round-trips", "handshakes", "memory", "largest")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.relay", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all")
    parser.add_argument("--quick", action="store_true", help="one round of short runs")
    parser.add_argument("--rounds", type=int, help="rounds (4; quick: 1)")
    parser.add_argument("--seconds", type=float, help="of each run (0.6; quick: 0.4)")
    parser.add_argument("--nice", type=int, default=0, help="priority of all that is measured")
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="measure the `broker` package in DIR too, beside ours",
    )
    parser.add_argument("--write", action="store_true", help="write into docs/performance.md")
    parser.add_argument("--out", type=Path, default=OUT / "relay.json", help="the JSON file")
    options = parser.parse_args()
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"{part} is not a part; there are {', '.join(PARTS)}")
    options.parts = options.parts or (QUICK if options.quick else PARTS)
    options.rounds = options.rounds or (1 if options.quick else 4)
    options.seconds = options.seconds or (0.4 if options.quick else 0.6)
    return options


class Run:
    """One run of the whole, part by part."""

    def __init__(
        self,
        options: argparse.Namespace,
        bench: Bench,
        backend: int,
        work: Path,
        rust: Path | None,
    ) -> None:
        self._options = options
        self._bench = bench
        self._backend = backend
        self._work = work
        self._rust = rust
        self._layouts = layouts()
        self.samples = cases.Samples()
        self.others: dict[str, Path] = {}
        for also in options.also:
            name, _, directory = also.partition("=")
            self.others[name] = Path(directory).resolve()

    def measure(self) -> None:
        """Everything that was asked for."""
        with contextlib.ExitStack() as running:
            self._in_turns(running)
        quick = self._options.quick
        if "storm" in self._options.parts:
            self._storm()
        if "memory" in self._options.parts:
            for turn in range(max(1, self._options.rounds // 4)):
                _tell(f"memory, round {turn + 1}")
                self._memory(("64 KiB",) if quick else ("64 KiB", "1 MiB"))
        if "serve" in self._options.parts:
            self._serve()
        goals.with_added(self.samples)

    def _in_turns(self, running: contextlib.ExitStack) -> None:
        seconds, parts = self._options.seconds, self._options.parts
        pinned = self._layouts["pinned"]
        chosen: list[cases.Case] = []
        if "throughput" in parts:
            chosen += cases.throughput(self._bench, pinned, seconds)
            if not self._options.quick:
                older = cases.throughput(
                    self._bench, pinned, seconds, {"64 KiB": cases.SIZES["64 KiB"]}, tls="1.2"
                )
                chosen += older[:1]
        if "round-trips" in parts:
            chosen += cases.round_trips(self._bench, self._layouts, seconds)
        if "handshakes" in parts:
            chosen += cases.handshakes(self._bench, pinned, seconds)
        here = [running.enter_context(contenders.direct(self._backend))]
        here += [running.enter_context(start()) for start in self._proxies()]
        for turn in range(self._options.rounds if chosen else 0):
            _tell(f"round {turn + 1} of {self._options.rounds}")
            ahead = turn % len(here)
            order = [*here[ahead:], *here[:ahead]]
            cases.in_turns(chosen, order, 1, self.samples)
        if "largest" in parts:
            _tell("large messages")
            cases.in_turns(cases.largest(self._bench, pinned), here, 1, self.samples)

    def _proxies(self) -> Iterator[cases.Fresh]:
        yield partial(contenders.haproxy, self._backend, self._work)
        if self._rust is not None:
            yield partial(kerbside.proxy, self._backend, self._work, self._rust)
        yield partial(contenders.ours, self._backend, self._work)
        for name, tree in self.others.items():
            yield partial(contenders.ours, self._backend, self._work, name=name, tree=tree)

    def _storm(self) -> None:
        case = cases.in_a_storm(self._bench, self._layouts["free"], 2 * self._options.seconds)
        starts: list[cases.Fresh] = list(self._proxies())
        for name, tree in {"ours": contenders.ROOT, **self.others}.items():
            two = f"{name}, 2 workers"
            starts.append(
                partial(contenders.ours, self._backend, self._work, name=two, workers=2, tree=tree)
            )
        with contextlib.ExitStack() as running:
            here = [running.enter_context(start()) for start in starts]
            for turn in range(self._options.rounds):
                _tell(f"storm, round {turn + 1} of {self._options.rounds}")
                cases.in_turns([case], here, 1, self.samples)

    def _memory(self, sizes: tuple[str, ...]) -> None:
        pinned = self._layouts["pinned"]
        for start in self._proxies():
            try:
                cases.idle_memory(self._bench, pinned, start, self.samples)
                cases.stalled_memory(self._bench, pinned, start, self.samples, sizes)
            except RunFailed as exc:
                self.samples.failed.append(f"memory: {exc}")

    def _serve(self) -> None:
        """Once through the whole of `broker serve`: the store's part is in here."""
        _tell("broker serve")
        seconds, bench = self._options.seconds, self._bench
        pinned = self._layouts["pinned"]
        with contenders.broker_serve(self._backend, self._work) as contender:
            chosen = cases.throughput(bench, pinned, seconds)[:4]
            chosen += cases.round_trips(bench, self._layouts, seconds)
            # New sessions need a token each: only channels can come in a storm.
            chosen += cases.handshakes(bench, pinned, seconds)[:2]
            for _ in range(max(1, self._options.rounds // 4)):
                for case in chosen:
                    cases.attempt(case, contender, self.samples)


def _tell(words: str) -> None:
    sys.stderr.write(f"{words} …\n")


def main() -> int:
    """Measure and print."""
    options = _arguments()
    if options.nice:
        prefer([os.getpid()], options.nice)  # what we start inherits it
    try:
        generator: Generator = build(OUT / "relay")
        rust = _kerbside()
        with (
            tempfile.TemporaryDirectory(prefix="cb-bench-") as work,
            contenders.server(generator.server) as (backend, server_pid),
        ):
            run = Run(
                options, Bench(generator, server_pid, options.nice), backend, Path(work), rust
            )
            run.measure()
    except ToolMissing as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    facts = [
        *machine(),
        *versions(),
        ("rounds", str(options.rounds)),
        ("seconds", f"{options.seconds:g}"),
    ]
    shown = ["direct", goals.HAPROXY, goals.KERBSIDE, "ours", *run.others]
    shown += [f"{name}, 2 workers" for name in ("ours", *run.others)] + ["broker serve"]
    verdicts = {name: goals.judge(run.samples, name) for name in ("ours", *run.others)}
    lines = [f"Measured on {datetime.now(UTC):%Y-%m-%d}.", "", "| machine | |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in facts]
    lines += tables.figures(run.samples, shown)
    for name, judged in verdicts.items():
        lines += ["", f"Goals, {name}:", "", *tables.goals(judged)]
    for failure in run.samples.failed:
        lines += ["", f"Failed: {failure}"]
    text = "\n".join(lines)
    print(text)
    if options.write:
        page.put(PAGE, text)
    document = {
        "machine": dict(facts),
        "samples": run.samples.found,
        "failed": run.samples.failed,
        "goals": {
            name: [
                {
                    "figure": verdict.goal.figure,
                    "reached": verdict.value,
                    "limit": verdict.limit,
                    "word": verdict.word,
                }
                for verdict in judged
            ]
            for name, judged in verdicts.items()
        },
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if run.samples.failed else 0


def _kerbside() -> Path | None:
    """Where it is; None, and a word about it, where it cannot be had."""
    try:
        return kerbside.fetch(OUT / "relay")
    except kerbside.NotToBeHad as exc:
        _tell(f"without {kerbside.NAME}, and without the goals that name it: {exc}")
        return None


def versions() -> list[tuple[str, str]]:
    """What the contenders are."""
    haproxy = subprocess.run(
        [contenders.haproxy_program(), "-v"], capture_output=True, text=True, check=False
    )
    return [
        ("HAProxy", haproxy.stdout.partition(" - ")[0].removeprefix("HAProxy version ")),
        (kerbside.NAME, kerbside.VERSION),
        ("our TLS", SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode()),
    ]


if __name__ == "__main__":
    sys.exit(main())
