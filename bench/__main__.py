"""`python -m bench [PART …] [--rounds N]`: measure, print Markdown, keep the samples as JSON.

docs/performance.md holds what this printed; `--write` puts the parts that were run, and did not
fail, in place of what it had of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from bench.page import merged
from bench.report import Part, load, machine, markdown, save, told

PARTS = {
    "startup": "bench.startup",
    "paint": "bench.paint",
    "lists": "bench.lists",
    "live": "bench.live",
    "launch": "bench.launch",
    "fleet": "bench.fleet",
    "refresh": "bench.refresh",
    "hypervisors": "bench.hypervisors",
    "feel": "bench.feel",
}
ROOT = Path(__file__).parent.parent
OUT = ROOT / "bench" / "out" / "bench.json"
PAGE = ROOT / "docs" / "performance.md"


def main() -> int:
    """Run the parts that were asked for, all by default."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all")
    parser.add_argument("--rounds", type=int, default=25, help="samples of each case (25)")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    args = parser.parse_args()
    for part in args.parts:
        if part not in PARTS:
            parser.error(f"{part} is not a part; there are {', '.join(PARTS)}")
    facts, date = machine(), datetime.now(UTC).strftime("%Y-%m-%d")
    parts: list[Part] = []
    samples: dict[str, list[float]] = {}
    fresh: dict[str, str] = {}
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="cb-bench-") as work:
        for part in args.parts or PARTS:
            sys.stderr.write(f"measuring {part} …\n")
            when = f"on {date}, at a load of {load()} before"
            try:
                found, values = import_module(PARTS[part]).measure(Path(work), args.rounds)
            except KeyboardInterrupt:
                failed.append(part)
                break
            except Exception:  # the others are worth no less
                traceback.print_exc()
                failed.append(part)
                continue
            parts += found
            samples |= values
            fresh[part] = told(found, when)
    save(OUT, parts, samples, facts)
    head = markdown([fact for fact in facts if fact[0] != "load before"])
    print("\n".join([head, *fresh.values()]), end="")
    if args.write and fresh:
        PAGE.write_text(merged(PAGE.read_text(), head, fresh, tuple(PARTS)))
    if failed:
        sys.stderr.write(f"failed: {', '.join(failed)}; the page has their old figures\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
