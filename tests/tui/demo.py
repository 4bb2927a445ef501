"""The app over made-up machines, to look at: `python -m tests.tui.demo [ROWS]`."""

from __future__ import annotations

import os
import sys
import tempfile

from broker.clock import SystemClock
from broker.events import Kind
from broker.model import State
from tests.fakes.service import FakeService, console, few, session
from tui.app import BrokerApp

_STATES = (State.RUNNING, State.RUNNING, State.RUNNING, State.STOPPED, State.PAUSED, State.ERROR)


def service(rows: int) -> FakeService:
    """A fake with a few machines, or with many."""
    fake = FakeService(few({"demo": 1, "k8s-node-1": 1, "printer": 1}))
    if rows:
        fake.rows = [
            console(f"k8s-node-{n:05d}", ("lab", "pve", "here")[n % 3], n, _STATES[n % 6])
            for n in range(rows)
        ]
    for number, row in enumerate(fake.rows[2:5]):
        fake.live.append(session(row, f"k3f9a0b1c2d{number}", f"192.0.2.{number + 10}:51344"))
        fake.say(Kind.SESSION_OPENED, f"ana opened {row.machine.name}", row)
    fake.say(Kind.SESSION_REFUSED, "A token that had expired was refused", fake.rows[0])
    return fake


def main() -> None:
    """Run it, with a home of its own that stays for a second look."""
    os.environ.setdefault("BROKER_HOME", tempfile.mkdtemp(prefix="cb"))
    fake = service(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    BrokerApp(fake.opened, initial=fake.rows, now=SystemClock().now).run()


if __name__ == "__main__":
    main()
