"""What `broker latency` and `broker control` say when things are not as they should be."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.guests import needs_qemu
from tests.integration.cli import broker, running
from tests.integration.test_latency import QUICK, demo, until

__all__ = ["demo"]


def commands(file: Path, socket_path: Path) -> list[tuple[str, ...]]:
    """Both commands, on a .vv file."""
    return [
        ("latency", "--file", str(file), *QUICK, "--json"),
        ("control", "--file", str(file), "--socket", str(socket_path), "--json"),
    ]


def test_a_console_that_is_dead(broker_home: Path) -> None:
    file = broker_home / "x.vv"
    file.write_text("[virt-viewer]\ntype=spice\nhost=127.0.0.1\nport=1\npassword=x\n")
    said = [broker(*words) for words in commands(file, broker_home / "c.sock")]
    assert [(each.code, each.error["error"]) for each in said] == [(4, "backend-unreachable")] * 2


@needs_qemu
@pytest.mark.qemu
def test_tokens_paths_and_seats_that_are_no_good(demo: str, broker_home: Path) -> None:
    file, bad, path = (broker_home / name for name in ("x.vv", "bad.vv", "c.sock"))
    with running("serve"):
        assert broker("status", "--wait", "90").code == 0
        assert broker("export-vv", demo, "-o", str(file)).code == 0
        bad.write_text(re.sub("password=.*", f"password={'x' * 43}", file.read_text()))
        wrong = [broker(*words) for words in commands(bad, path)]
        assert [each.code for each in wrong] == [5, 5], wrong

        for taken, says in ((file, "no socket"), (broker_home / ("x" * 120), "too long")):
            said = broker("control", "--file", str(file), "--socket", str(taken))
            assert (said.code, says in said.err) == (2, True)
        # Its token is as good as before.
        with running("control", "--file", str(file), "--socket", str(path)):
            until(path.is_socket)
            busy = broker("latency", demo, *QUICK, "--json")
            assert (busy.code, busy.error["error"]) == (5, "occupied"), busy


@needs_qemu
@pytest.mark.qemu
def test_a_machine_that_vanishes_takes_the_control_socket_along(
    demo: str, broker_home: Path
) -> None:
    path = broker_home / "c.sock"
    with running("control", demo, "--socket", str(path)) as process:
        until(path.is_socket)
        assert broker("vm", "kill", demo).code == 0
        _, said = process.communicate(timeout=90)
    assert (process.returncode, "session has ended" in said) == (4, True), said
    assert not path.exists()


BUSY = json.dumps({"ok": False, "error": {"code": "busy", "message": "taken"}}).encode()


@pytest.mark.parametrize(
    ("line", "says"),
    [(b"garbage", "no viewer"), (BUSY, "Another program"), (b"[]", "no viewer"), (b"", "closed")],
    ids=["garbage", "busy", "no object", "nothing"],
)
def test_what_answers_at_a_control_socket_is_no_viewer_of_ours(
    line: bytes, says: str, broker_home: Path
) -> None:
    path = broker_home / "c.sock"
    with answering(path, line):
        said = broker("latency", "--control-socket", str(path), *QUICK, "--json")
    assert said.code == 4
    assert says in said.error["what"]


@contextmanager
def answering(path: Path, line: bytes) -> Iterator[None]:
    """Somebody who says one line to whoever comes, and hangs up."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> None:
            caller, _ = listener.accept()
            with caller:
                caller.recv(4096)
                caller.sendall(line + b"\n" if line else b"")

        thread = threading.Thread(target=answer)
        thread.start()
        yield
        thread.join()
