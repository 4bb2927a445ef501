"""One run of the fake viewer against one contender, with what it cost the contender."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.relay.build import Generator
from bench.relay.contenders import Contender
from bench.relay.watching import Memory, cpu_seconds, memory, pin, prefer

RUN_SECONDS = 60.0
"""A client that lives longer is stuck, and ended."""


class RunFailed(Exception):
    """The fake viewer gave up; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which CPUs the contender and the generator run on."""

    name: str
    contender: tuple[int, ...]
    generator: tuple[int, ...]


def layouts() -> dict[str, Layout]:
    """`pinned`: the contender alone on one CPU; `one`: everything on one; `free`: no rule.

    On a machine with a single CPU all three are the same.
    """
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    first, last = cpus[:1], cpus[-1:]
    return {
        "pinned": Layout("pinned", first, last),
        "one": Layout("one", first, first),
        "free": Layout("free", cpus, cpus),
    }


@dataclass(frozen=True, slots=True)
class Result:
    """What the client said, and the contender's CPU seconds meanwhile."""

    said: dict[str, float]
    cpu: float


class Bench:
    """The generator, and the layout that is in force."""

    def __init__(self, generator: Generator, server_pid: int, nice: int = 0) -> None:
        self._generator = generator
        self._server_pid = server_pid
        self._nice = nice

    def run(
        self, contender: Contender, layout: Layout, mode: str, *, tls: str = "1.3", **words: float
    ) -> Result:
        """One run of the client.

        Args:
            words: Its arguments; `at_once=8` becomes `at-once=8`.

        Raises:
            RunFailed: It gave up.
        """
        with self._client(contender, layout, mode, tls, words) as client:
            self._heard(client, "begin")
            before = cpu_seconds(contender.pids)
            self._heard(client, "end")
            spent = cpu_seconds(contender.pids) - before
            return Result(json.loads(self._heard(client)), spent)

    @contextlib.contextmanager
    def holding(
        self, contender: Contender, layout: Layout, mode: str, **words: float
    ) -> Iterator[subprocess.Popen[str]]:
        """A client that has linked its channels and waits; `idle` or `stall`."""
        with self._client(contender, layout, mode, "1.3", words) as client:
            self._heard(client, "ready")
            yield client

    def growth(
        self, contender: Contender, layout: Layout, *, channels: int, body: int, looks: int = 2
    ) -> list[int]:
        """Kilobytes per channel that were added, 2 s apart, while clients do not read."""
        with self.holding(contender, layout, "stall", channels=channels, body=body) as client:
            before = memory(contender.pids)
            assert client.stdin is not None
            client.stdin.write("go\n")
            client.stdin.flush()
            self._heard(client, "ready")
            found = []
            for _ in range(looks):
                time.sleep(2)
                found.append((memory(contender.pids).rss - before.rss) // channels)
            return found

    def idle(self, contender: Contender, layout: Layout, channels: int) -> tuple[Memory, Memory]:
        """Memory before and with that many idle channels."""
        before = memory(contender.pids)
        with self.holding(contender, layout, "idle", channels=channels):
            time.sleep(1)
            return before, memory(contender.pids)

    def ping_in_storm(
        self, contender: Contender, layout: Layout, *, at_once: int, seconds: float
    ) -> tuple[Result, float]:
        """Round trips of an open session beside viewers that connect anew without pause.

        Returns:
            The round trips, and how many of those links there were per second.
        """
        storm: dict[str, float] = {"at_once": at_once, "seconds": seconds + 1}
        with self._client(contender, layout, "storm-main", "1.3", storm) as client:
            self._heard(client, "begin")
            pinged = self.run(contender, layout, "ping", seconds=seconds)
            self._heard(client, "end")
            said = json.loads(self._heard(client))
            return pinged, said["links"] / said["seconds"]

    @contextlib.contextmanager
    def _client(
        self,
        contender: Contender,
        layout: Layout,
        mode: str,
        tls: str,
        words: dict[str, float],
    ) -> Iterator[subprocess.Popen[str]]:
        pin([self._server_pid], layout.generator)
        pin(contender.pids, layout.contender)
        if self._nice:
            prefer((self._server_pid, *contender.pids), self._nice)
        cpus = ",".join(map(str, layout.generator))
        argv = [
            "timeout",
            f"{RUN_SECONDS:g}",
            "taskset",
            "-c",
            cpus,
            str(self._generator.client),
            mode,
        ]
        argv += [f"port={contender.port}", f"tls={tls if contender.tls else 'none'}"]
        argv += [f"{name.replace('_', '-')}={value}" for name, value in words.items()]
        client = subprocess.Popen(
            argv,
            env=os.environ | {"LOAD_TOKEN": contender.token()},  # everybody can read an argv
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield client
        finally:
            client.terminate()  # `timeout` passes it on; it could not pass on a kill
            client.communicate()

    @staticmethod
    def _heard(client: subprocess.Popen[str], word: str = "") -> str:
        assert client.stdout is not None
        line = client.stdout.readline().strip()
        if not line or (word and line != word):
            client.terminate()
            raise RunFailed((client.communicate()[1] or line or "it said nothing").strip())
        return line
