"""Which relay worker holds a session: its process id, and which life of that number is meant.

The number alone may be another process's tomorrow: after a reboot, or in a container that is
started again, it even is another worker's as a rule.
"""

from __future__ import annotations

from broker.vm import process


def life_of(pid: int) -> str:
    """What no other process with that number shares: boot and start; empty when there is none."""
    found = process.of_pid(pid)
    return "" if found is None else f"{process.boot_id()}/{found.ticks}"


def worker_alive(pid: int, life: str) -> bool:
    """Whether that very worker still runs.

    Args:
        life: What `life_of` told of it when it began; empty in what was written before that was
            kept, and then its number has to do.
    """
    now = life_of(pid)
    return now != "" and life in ("", now)
