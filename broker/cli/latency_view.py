"""What `broker latency` shows: a line that moves while it measures, and the account at the end."""

from __future__ import annotations

import platform
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final

from broker import __version__
from broker.cli.call import Call
from broker.cli.diagnostics import Talk
from broker.headless.run import Pace, Path, percentile

SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
BARS: Final = "▁▂▃▄▅▆▇█"
PLAIN_BARS: Final = "_.-:=+*#"
CELLS: Final = 24
RESTLESS_PER_SECOND: Final = 0.2
"""Drawing that nobody asked for, from which on key presses cannot be told from it."""


class Progress(AbstractContextManager["Progress"]):
    """One line on a terminal that says how far it is; nothing anywhere else."""

    def __init__(self, talk: Talk, paths: Sequence[Path], pace: Pace) -> None:
        self._shown = talk.is_terminal and not talk.quiet and not talk.json
        self._paths, self._pace = paths, pace
        self._open = True

    def update(self) -> None:
        """Draw it anew."""
        if self._shown and self._open:
            line = "   ".join(_line(path, self._pace) for path in self._paths)
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()

    def close(self) -> None:
        """Take it away."""
        if self._shown and self._open:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        self._open = False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _line(path: Path, pace: Pace) -> str:
    median, slow = percentile(path.samples, 0.5), percentile(path.samples, 0.99)
    if median is None or slow is None:
        return f"{path.name} {path.asked}/{pace.samples}"
    return (
        f"{path.name} {path.asked}/{pace.samples}  p50 {milliseconds(median)}  "
        f"p99 {milliseconds(slow)}  {histogram(path.samples)}"
    )


def histogram(samples: Sequence[float], bars: str | None = None) -> str:
    """How often what came, from the least to the most, as a line of bars."""
    if bars is None:
        encoding = (sys.stderr.encoding or "").lower()
        bars = BARS if encoding.startswith("utf") else PLAIN_BARS
    least, most = min(samples), max(samples)
    counts = [0] * CELLS
    for sample in samples:
        place = (sample - least) / (most - least) if most > least else 0.0
        counts[min(CELLS - 1, int(place * CELLS))] += 1
    top = max(counts)
    return "".join(bars[-(-count * (len(bars) - 1) // top)] for count in counts)


def account(
    args: Namespace, target: str, paths: Sequence[Path], viewer: str = ""
) -> dict[str, object]:
    """All that a run was and gave; times in seconds.

    Args:
        viewer: What a viewer at a control socket calls itself; empty for our own client.
    """
    document: dict[str, object] = {
        "metric": args.metric,
        "target": target,
        "via": [path.name for path in paths],
        "cadence": args.cadence,
        "scancode": args.scancode,
        "box": _box(args),
        "versions": {
            "broker": __version__,
            "python": platform.python_version(),
            "viewer": viewer or f"broker {__version__}",
        },
        "unmatched": sum(path.unmatched for path in paths),
        "dropped": sum(path.dropped for path in paths),
        "paths": [_figures(path) for path in paths],
    }
    if len(paths) == 2 and all(path.samples for path in paths):
        document["difference"] = {
            name: _at(paths[0], share) - _at(paths[1], share) for name, share in SHARES.items()
        }
    return document


def _box(args: Namespace) -> list[int] | None:
    box = args.box
    return None if box is None else [box.left, box.top, box.width, box.height]


def _at(path: Path, share: float) -> float:
    found = percentile(path.samples, share)
    assert found is not None
    return found


def _figures(path: Path) -> dict[str, object]:
    samples = path.samples
    figures: dict[str, object] = {
        "name": path.name,
        "samples": len(samples),
        "unmatched": path.unmatched,
        "dropped": path.dropped,
        "restless": _is_restless(path),
        "strays_per_second": round(path.strays_per_second, 3),
    }
    if samples:
        figures |= {"min": min(samples), "max": max(samples)}
        figures |= {name: _at(path, share) for name, share in SHARES.items()}
        figures["mean"] = sum(samples) / len(samples)
    return figures


def tell(call: Call, paths: Sequence[Path], document: dict[str, object]) -> None:
    """The account, as a table or a document."""
    if call.out.json:
        call.out.document(document)
        return
    rows = [_row(path) for path in paths]
    difference = document.get("difference")
    if isinstance(difference, dict):
        shares = [_signed(difference[name]) for name in SHARES]
        rows.append([f"{paths[0].name} - {paths[1].name}", "", "", *shares, "", ""])
    headings = ["VIA", "SAMPLES", "UNMATCHED", "P50", "P90", "P99", "MIN", "MAX"]
    call.out.table(headings, rows)
    for path in paths:
        if _is_restless(path):
            call.talk.note(
                f"{path.name}: {path.strays_per_second:.1f} times a second something answered "
                "that was not asked, so samples may be false; "
                "narrow the judged part of the screen: --box X,Y,W,H"
            )


def _is_restless(path: Path) -> bool:
    """Whether the screen changes by itself so often that samples may be false."""
    return path.strays_per_second > RESTLESS_PER_SECOND


def _row(path: Path) -> list[str]:
    samples = path.samples
    if not samples:
        return [path.name, "0", str(path.unmatched), *[""] * 5]
    shares = [milliseconds(_at(path, share)) for share in SHARES.values()]
    ends = [milliseconds(min(samples)), milliseconds(max(samples))]
    return [path.name, str(len(samples)), str(path.unmatched), *shares, *ends]


def _signed(seconds: float) -> str:
    return f"{'-' if seconds < 0 else '+'}{milliseconds(abs(seconds))}"


def milliseconds(seconds: float) -> str:
    """`18.24 ms`: hundredths, for what a proxy adds is small."""
    return f"{seconds * 1000:.2f} ms"
