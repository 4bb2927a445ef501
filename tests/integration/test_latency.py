"""`broker latency` on a real guest, by each metric and over each path."""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker.demo import BANNER
from tests.guests import needs_qemu
from tests.integration.cli import BROKER, broker, environment, running, until_it_says
from tests.integration.moving import image, needs_nasm

pytestmark = [needs_qemu, pytest.mark.qemu]

RYLL = Path(sys.executable).with_name("ryll")
QUICK = ("--cadence", "0.2", "--samples", "4")


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("BROKER_PROXY_TLS_PORT", "0")
    assert broker("run", "--demo", "--headless").code == 0
    try:
        until_it_says("demo", BANNER.decode().strip())
        yield "demo"
    finally:
        broker("vm", "kill", "demo")


def samples(path: Path) -> list[float]:
    return [float(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("metric", ["keypress", "ping", "serial"])
def test_both_paths_in_turns(demo: str, metric: str, tmp_path: Path) -> None:
    output = tmp_path / "run.csv"
    words = ("--metric", metric, "--via", "proxy,direct", "-o", str(output))
    said = broker("latency", demo, *QUICK, *words, "--json")
    assert said.code == 0, said.err
    account = said.document
    assert account["via"] == ["proxy", "direct"]
    paths = account["paths"]
    assert isinstance(paths, list)
    assert [path["samples"] + path["unmatched"] for path in paths] == [4, 4]
    assert set(account["difference"]) == {"p50", "p90", "p99"}  # type: ignore[call-overload]  # an object
    assert json.loads((tmp_path / "run.json").read_text()) == account
    kept = {name: samples(tmp_path / f"run-{name}.csv") for name in ("proxy", "direct")}
    assert [len(kept[path["name"]]) for path in paths] == [path["samples"] for path in paths]
    assert all(each > 0 for several in kept.values() for each in several)
    until(lambda: broker("sessions", "--json").rows == [])  # a busy host's proxy may end later


def test_a_part_of_the_screen_that_never_changes_gives_no_samples(demo: str) -> None:
    said = broker("latency", demo, "--cadence", "0.2", "--samples", "2", "--box", "0,0,8,8")
    assert said.code == 4
    assert "nothing answered in 2 tries" in said.err
    assert "UNMATCHED" in said.out


@needs_nasm
def test_a_screen_that_changes_by_itself_is_recognised(tmp_path: Path) -> None:
    disk, output = str(image(tmp_path / "moving.img")), tmp_path / "run.csv"
    words = ("--format", "raw", "--accel", "tcg", "-m", "64M", "--snapshot", "--headless")
    assert broker("run", disk, *words).code == 0
    try:
        until(lambda: "M0" in broker("vm", "log", "moving", "--serial").out)
        said = broker("latency", "moving", *QUICK, "--via", "direct", "-o", str(output))
    finally:
        broker("vm", "kill", "moving")
    assert "--box" in said.err
    assert json.loads(output.with_suffix(".json").read_text())["paths"][0]["restless"] is True


def test_what_was_measured_is_kept_when_it_is_interrupted(demo: str, tmp_path: Path) -> None:
    output = tmp_path / "run.csv"
    words = ("--cadence", "0.1", "--samples", "100000", "-o", str(output))
    with running("latency", demo, *words) as process:
        until(lambda: output.exists() and len(samples(output)) >= 2)
        process.send_signal(signal.SIGINT)
        shown, _ = process.communicate(timeout=90)
    assert process.returncode == 130
    account = json.loads((tmp_path / "run.json").read_text())
    assert account["paths"][0]["samples"] == len(samples(output)) >= 2
    assert "P50" in shown


def test_what_the_relay_saw_of_a_session_agrees_with_what_was_measured_on_it(
    demo: str, tmp_path: Path
) -> None:
    """Both time the same keys; the refresh of the screen is 30 ms, the histogram right to 10 %."""
    output = tmp_path / "run.csv"
    words = ("--cadence", "1.3", "--samples", "1000", "-o", str(output))

    def agree() -> bool:
        measured = samples(output) if output.exists() else []
        live = broker("sessions", "--json").rows
        seen: dict[str, float] = live[0]["latency_ms"]["draw"] if live else {"count": 0}  # type: ignore[index]  # an object
        if seen["count"] < 5 or len(measured) < 5:
            return False
        median = statistics.median(measured) * 1000
        return abs(seen["p50"] - median) <= 30 + median / 10

    with running("serve"):
        assert broker("status", "--wait", "90").code == 0
        with running("latency", demo, *words):
            until(agree, seconds=90)


def test_a_machine_that_vanishes_ends_a_run_and_the_samples_are_kept(
    demo: str, tmp_path: Path
) -> None:
    output = tmp_path / "run.csv"
    words = ("--cadence", "0.1", "--samples", "100000", "-o", str(output), "--json")
    with running("latency", demo, *words) as process:
        until(lambda: output.exists() and len(samples(output)) >= 2)
        assert broker("vm", "kill", demo).code == 0
        shown, said = process.communicate(timeout=90)
    assert process.returncode == 4, said
    kept = len(samples(output))
    assert json.loads(shown)["paths"][0]["samples"] == kept >= 2
    assert json.loads((tmp_path / "run.json").read_text())["dropped"] == 0


def until(holds: Callable[[], bool], seconds: float = 90.0) -> None:
    """Look again and again until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_one_that_is_off(demo: str) -> None:
    assert broker("vm", "kill", demo).code == 0
    said = broker("latency", demo, *QUICK, "--json")
    assert (said.code, said.error["error"]) == (1, "no-console")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "Name a console"),
        (("demo", "--file", "x.vv"), "Name a console"),
        (("demo", "--metric", "ping", "--box", "0,0,1,1"), "--box"),
        (("demo", "--box", "0,0,0,1"), "X,Y,WIDTH,HEIGHT"),
        (("demo", "--via", "moon"), "proxy"),
        (("demo", "--scancode", "0xB9"), "make code"),
        (("demo", "--metric", "smell"), "keypress"),
        (("--file", "/nowhere.vv"), "cannot be read"),
        (("--control-socket", "/nowhere.sock", "demo"), "has its console"),
    ],
)
def test_what_makes_no_sense(words: tuple[str, ...], says: str) -> None:
    said = broker("latency", *words)
    assert said.code == 2
    assert says in said.err


def test_nobody_at_the_control_socket(tmp_path: Path) -> None:
    said = broker("latency", "--control-socket", str(tmp_path / "x.sock"), *QUICK)
    assert said.code == 4
    assert "no viewer listens there" in said.err


@pytest.mark.viewer
@pytest.mark.parametrize("who", ["broker", "ryll"])
def test_another_viewer_at_its_control_socket(demo: str, who: str, broker_home: Path) -> None:
    if who == "ryll" and not RYLL.exists():
        pytest.skip("ryll is not installed")
    file, path = broker_home / "x.vv", broker_home / "c.sock"
    with running("serve"):
        assert broker("status", "--wait", "90").code == 0
        assert broker("export-vv", demo, "-o", str(file)).code == 0
        ryll = [str(RYLL), "--headless", "--file", str(file), "--control-socket", str(path)]
        ours = [*BROKER, "control", "--file", str(file), "--socket", str(path)]
        with going(ryll if who == "ryll" else ours):
            until(lambda: path.is_socket() and broker("sessions", "--json").rows != [])
            said = broker("latency", "--control-socket", str(path), *QUICK, "--json")
    assert said.code == 0, said.err
    paths = said.document["paths"]
    assert isinstance(paths, list)
    assert paths[0]["samples"] > 0


@contextmanager
def going(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(90)
