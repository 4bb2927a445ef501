"""Runs the real command in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

BROKER = (sys.executable, "-P", "-c", "from broker.cli.main import entry; entry()")
SECONDS = 120.0
DISPLAY_WORDS = ("-screen", "0", "1024x768x24", "-nolisten", "tcp")


@dataclass(frozen=True)
class Said:
    """What came of a command line."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, object]:
        """The one JSON document on stdout."""
        found: dict[str, object] = json.loads(self.out)
        return found

    @property
    def rows(self) -> list[dict[str, object]]:
        """The JSON array on stdout."""
        found: list[dict[str, object]] = json.loads(self.out)
        return found

    @property
    def error(self) -> dict[str, str]:
        """The error object, the last line on stderr."""
        found: dict[str, str] = json.loads(self.err.splitlines()[-1])
        return found


def environment(**changes: str) -> dict[str, str]:
    """This process's, without a display, and as a script has it."""
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return kept | changes


def broker(
    *words: str,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    seconds: float = SECONDS,
) -> Said:
    """Run a command to its end."""
    ran = subprocess.run(
        [*BROKER, *words],
        capture_output=True,
        text=True,
        input=stdin,
        timeout=seconds,
        check=False,
        env=environment() if env is None else env,
    )
    return Said(ran.returncode, ran.stdout, ran.stderr)


@contextmanager
def running(*words: str, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on; it is ended by SIGTERM, and must heed it."""
    process = subprocess.Popen(
        [*BROKER, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment() if env is None else env,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise


def until_it_says(name: str, text: str, seconds: float = SECONDS) -> None:
    """Wait until that VM's guest has said so on its serial port; keys before that are lost."""
    end = time.monotonic() + seconds
    while text not in (said := broker("vm", "log", name, "--serial").out):
        assert time.monotonic() < end, said
        time.sleep(0.2)


def display_name() -> str:
    """A display that no other process of the tests takes.

    Numbers that Xvfb finds free are taken again while the one before still ends, and takes the
    socket of the next one away.
    """
    return f":{30_000 + os.getpid() % 20_000}"


@contextmanager
def a_display(program: str) -> Iterator[str]:
    """The name of a screen that nobody sees; `program` is Xvfb."""
    read, write = os.pipe()
    screen = subprocess.Popen(
        [program, display_name(), *DISPLAY_WORDS, "-displayfd", str(write)],
        pass_fds=(write,),
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as numbers:
        number = numbers.readline().strip()
    try:
        yield f":{number}"
    finally:
        screen.terminate()
        screen.wait(90)
