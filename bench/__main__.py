"""`python -m bench [PART …] [--rounds N]`: measure, print Markdown, keep the samples as JSON.

docs/performance.md holds what this printed; `--write` puts it there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from bench.report import Part, machine, markdown, save

PARTS = {
    "startup": "bench.startup",
    "paint": "bench.paint",
    "lists": "bench.lists",
    "launch": "bench.launch",
    "fleet": "bench.fleet",
    "refresh": "bench.refresh",
    "hypervisors": "bench.hypervisors",
    "feel": "bench.feel",
}
ROOT = Path(__file__).parent.parent
OUT = ROOT / "bench" / "out" / "bench.json"
PAGE = ROOT / "docs" / "performance.md"
MARK = "<!-- what `make bench` printed; everything below is written by it -->\n"


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
    facts = machine()
    parts: list[Part] = []
    samples: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="cb-bench-") as work:
        for part in args.parts or PARTS:
            sys.stderr.write(f"measuring {part} …\n")
            new_parts, new_samples = import_module(PARTS[part]).measure(Path(work), args.rounds)
            parts += new_parts
            samples |= new_samples
    text = markdown(parts, facts, datetime.now(UTC).strftime("%Y-%m-%d"))
    save(OUT, parts, samples, facts)
    print(text, end="")
    if args.write:
        PAGE.write_text(PAGE.read_text().partition(MARK)[0] + MARK + "\n" + text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
