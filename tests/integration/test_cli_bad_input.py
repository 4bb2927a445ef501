"""What can go wrong on the command line: the words, the exit code, and that nothing is lost."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from unittest.mock import ANY

import pytest

from broker import demo
from broker.clock import SystemClock
from broker.config.locations import Locations
from broker.config.sources_file import fingerprint
from broker.model import SourceName
from broker.store.store import Store
from tests.guests import needs_qemu
from tests.integration.cli import broker, environment, running
from tests.integration.test_serving import is_running


def static(source: str, *, number: int = 1, port: object = 5999, more: str = "ticket: tick") -> str:
    """A static source with one console called web."""
    uuid = f"6f4e2c1a-0000-0000-0000-{number:012d}"
    return (
        f"- source: {source}\n  type: static\n  consoles:\n"
        f"    - {{uuid: {uuid}, name: web, hypervisor: node, hypervisor_ip: 127.0.0.1,"
        f" insecure_port: {port}, {more}}}\n"
    )


@pytest.fixture
def one_console(locations: Locations) -> Locations:
    locations.sources_yaml.write_text(static("lab"))
    return locations


@contextmanager
def listening(answer: bytes = b"") -> Iterator[int]:
    """A port that accepts, and says little."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        if answer:
            import threading

            def serve() -> None:
                while True:
                    try:
                        peer, _ = server.accept()
                    except OSError:
                        return
                    with peer:
                        peer.sendall(answer)

            threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [("show",), ("export-vv",), ("open",), ("doctor",), ("vm", "log"), ("vm", "start")]
)
def test_an_unknown_console_exits_with_3(words: tuple[str, ...], one_console: Locations) -> None:
    said = broker(*words, "wbe", "--json")
    assert (said.code, said.out) == (3, "")
    assert said.error["error"] == "not-found"
    assert said.error["fix"]


def test_an_ambiguous_name_lists_the_candidates(locations: Locations) -> None:
    locations.sources_yaml.write_text(static("a", number=1) + static("b", number=2))
    said = broker("show", "web", "--json")
    assert said.code == 3
    assert said.error["error"] == "ambiguous"
    assert '"candidates": ["a/web", "b/web"]' in said.err
    assert broker("show", "b/web").code == 0


# --- sources.yaml and broker.yaml ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("- source: [x\n", "sources.yaml:2"),
        ("source: x\n", "list"),
        (static("lab", port="many"), "insecure_port is not a number"),
        (static("lab", more="tikcet: x"), "tikcet is not a setting"),
        (static("lab", more="secure_prot: 1"), "secure_prot is not a setting"),
        (static("lab").replace("ticket: tick", "x-note: a"), "x-note"),
        (static("lab").replace("uuid: ", "uid: "), "uuid"),
    ],
    ids=["syntax", "no list", "wrong type", "unknown key", "near key", "extra key", "missing key"],
)
def test_a_broken_sources_yaml_is_explained_and_loses_no_console(
    text: str, word: str, one_console: Locations
) -> None:
    assert len(broker("list", "--json").rows) == 1
    one_console.sources_yaml.write_text(text)
    said = broker("sources", "--json")
    assert said.code == 4
    assert word in said.out
    assert [row["name"] for row in broker("list", "--json").rows] == ["web"]
    check = broker("config", "check", "--json")
    assert check.code == 2
    assert word in check.out
    assert "tick" not in (check.out + check.err).replace("ticket", "").replace("tikcet", "")


def test_a_missing_ticket_says_what_to_add(locations: Locations) -> None:
    locations.sources_yaml.write_text(static("lab", more="secure_port: 5998"))
    said = broker("sources")
    assert said.code == 4
    assert "ticket" in said.err


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("proxy: {tls_prot: 1}", "Did you mean tls_port?"),
        ("proxy: {tls_port: 70000}", "ports go from 1 to 65535"),
        ("proxy: [", "broker.yaml"),
    ],
)
@pytest.mark.parametrize("words", [("list",), ("export-vv", "web"), ("serve",), ("sessions",)])
def test_a_broken_broker_yaml_stops_every_command_with_2(
    words: tuple[str, ...], text: str, word: str, one_console: Locations
) -> None:
    one_console.broker_yaml.write_text(text)
    said = broker(*words, "--json")
    assert (said.code, said.out) == (2, "")
    assert said.error["error"] == "config"
    assert word in said.err


# --- backends ------------------------------------------------------------------------------------


def test_a_backend_that_is_not_there_exits_with_4(one_console: Locations) -> None:
    said = broker("doctor", "web")
    assert said.code == 4
    assert "fail  connection" in said.out
    assert "proxy" not in said.out


def test_a_backend_that_is_something_else_is_told_apart(locations: Locations) -> None:
    with listening(b"HTTP/1.0 400 Bad Request\r\n\r\n") as port:
        locations.sources_yaml.write_text(static("lab", port=port))
        said = broker("doctor", "web")
    assert "fail  SPICE" in said.out
    assert "HTTP" in said.out


# --- QEMU ----------------------------------------------------------------------------------------


def path_with(directory: Path, **programs: str) -> dict[str, str]:
    """An environment whose PATH holds only these scripts."""
    directory.mkdir(exist_ok=True)
    for name, text in programs.items():
        program = directory / name.replace("_", "-").replace("x86-64", "x86_64")
        program.write_text(text)
        program.chmod(0o755)
    return environment(PATH=str(directory))


def test_a_missing_qemu_says_how_to_install_it(tmp_path: Path) -> None:
    env = path_with(tmp_path / "bin")
    assert broker("vm", "define", "a", env=env).code == 0
    said = broker("vm", "start", "a", "--json", env=env)
    assert (said.code, said.error["error"]) == (1, "vm-start-failed")
    assert "apt install" in said.error["fix"]
    smoke = broker("smoke", "--keep", str(tmp_path / "kept"), env=env)
    assert smoke.code == 1
    assert "fail" in smoke.out.splitlines()[0]
    assert "apt install" in smoke.err


def test_a_qemu_without_spice_says_what_is_missing(tmp_path: Path) -> None:
    script = "#!/bin/sh\necho 'QEMU emulator version 7.2.0'\n"
    env = path_with(tmp_path / "bin", qemu_system_x86_64=script)
    said = broker("smoke", "--keep", str(tmp_path / "kept"), "--json", env=env)
    assert said.code == 1
    assert said.document["failed"] == "SPICE"
    assert "spice" in said.error["fix"]


@needs_qemu
@pytest.mark.qemu
def test_a_locked_image_is_told_by_qemu_itself(tmp_path: Path) -> None:
    image = demo.write_image(tmp_path / "disk.img")
    first = ("run", str(image), "--headless", "--name", "one", "--accel", "tcg")
    assert broker(*first).code == 0
    try:
        second = [word.replace("one", "two") for word in first]
        said = broker(*second, "--json")
        assert (said.code, said.error["error"]) == (1, "vm-start-failed")
        assert "lock" in said.error["what"] or "use" in said.error["what"]
    finally:
        assert broker("vm", "kill", "one").code == 0


@needs_qemu
@pytest.mark.qemu
@pytest.mark.parametrize("words", [("demo",), ("de*", "--json")], ids=["name", "pattern"])
def test_a_vm_is_killed_though_the_database_cannot_be_opened(
    words: tuple[str, ...], locations: Locations
) -> None:
    started = broker("run", "--demo", "--headless", "--json")
    assert started.code == 0, started.err
    with closing(sqlite3.connect(locations.database)) as later:
        later.execute("PRAGMA user_version = 9999")
    assert broker("vm", "pause", "demo").code == 1
    said = broker("vm", "kill", *words)
    assert (said.code, "killing without the database" in said.err) == (0, True)
    assert "demo" in said.out
    assert "stopped" in said.out
    assert not is_running(int(str(started.document["pid"])))


# --- this host -----------------------------------------------------------------------------------


def test_a_busy_port_exits_with_2() -> None:
    with listening() as port:
        said = broker("serve", "--tls-port", str(port), "--json")
    assert said.code == 2
    assert f"Port {port}" in said.error["what"]


def test_a_runtime_directory_with_too_long_a_path_exits_with_2(tmp_path: Path) -> None:
    said = broker("--home", str(tmp_path / ("x" * 100)), "list", "--json")
    assert said.code == 2
    assert "too long" in said.error["what"]


def test_a_runtime_directory_that_others_may_write_to_exits_with_2(locations: Locations) -> None:
    locations.runtime_dir.chmod(0o777)
    said = broker("list", "--json")
    assert said.code == 2
    assert "chmod 700" in said.error["fix"]


def test_a_corrupt_database_is_kept_aside_and_said(one_console: Locations) -> None:
    assert broker("list").code == 0
    for file in one_console.state_dir.glob("broker.db*"):
        file.unlink()
    one_console.database.write_bytes(b"garbage" * 1000)
    said = broker("list", "--json")
    assert said.code == 0
    assert [row["name"] for row in said.rows] == ["web"]
    assert "damaged" in said.err
    assert list(one_console.state_dir.glob("broker.db.corrupt*"))


def test_a_corrupt_certificate_is_said_with_what_to_remove(one_console: Locations) -> None:
    assert broker("export-vv", "web", "-o", "-").code == 0
    (one_console.pki_dir / "ca.pem").write_text("junk")
    said = broker("export-vv", "web", "-o", "-", "--ttl", "5m")
    assert (said.code, said.out) == (1, "")
    assert "ca.pem" in said.err


def test_a_state_directory_that_is_a_file_is_said(locations: Locations) -> None:
    locations.state_dir.rename(locations.state_dir.with_name("aside"))
    locations.state_dir.touch()
    said = broker("list", "--json")
    assert said.code in (1, 2)
    assert str(locations.state_dir) in said.error["what"]


def test_what_a_broker_was_killed_before_listing_is_listed_by_the_next(
    one_console: Locations,
) -> None:
    """It had read sources.yaml, and had not asked its sources."""
    with closing(Store.open(one_console, clock=SystemClock())) as store:
        store.put_configured([(SourceName("lab"), "static")])
        store.put_file_fingerprint(fingerprint(one_console.sources_yaml))
    assert [row["name"] for row in broker("list", "--json").rows] == ["web"]


def test_two_brokers_at_once_lose_nothing(one_console: Locations) -> None:
    words = ("export-vv", "web", "-o", "-")
    with running(*words) as first, running(*words) as second:
        said = [process.communicate(timeout=120) for process in (first, second)]
    assert [(out.partition("\n")[0], err) for out, err in said] == [("[virt-viewer]", ANY)] * 2
    assert len(broker("events", "--json").rows) >= 2
