from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from broker.cli import host_probes
from broker.cli.host_probes import ThisHost
from broker.config.locations import Locations
from broker.errors import ConfigError
from broker.findings import Mark
from broker.service.doctor import examine, host_checks
from broker.vm import probe
from tests.conftest import FakeClock


@pytest.fixture
def host(locations: Locations) -> ThisHost:
    assert locations.state_dir.exists()
    return ThisHost()


async def test_a_fresh_home_has_nothing_broken(host: ThisHost, clock: FakeClock) -> None:
    steps = [step async for step in examine(host_checks(host), clock, stop_at_failure=False)]
    names = {"directories", "settings", "database", "clock", "certificate"}
    assert {step.name for step in steps if step.finding.mark is Mark.OK} >= names


async def test_a_broken_broker_yaml_stops_only_what_needs_it(
    host: ThisHost, locations: Locations
) -> None:
    locations.broker_yaml.write_text("proxy: {tls_prot: 1}")
    with pytest.raises(ConfigError):
        await host.settings()
    assert (await host.certificate()).mark is Mark.OK


async def test_a_variable_that_sets_nothing_is_odd(
    host: ThisHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_PROXY_TLS_PROT", "1")
    finding = await host.settings()
    assert finding.mark is Mark.WARN
    assert "BROKER_PROXY_TLS_PROT" in finding.words


async def test_a_busy_port_is_found(host: ThisHost, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("BROKER_PROXY_TLS_PORT", str(taken.getsockname()[1]))
        finding = await host.port()
    assert finding.mark is Mark.FAIL
    assert "proxy.tls_port" in finding.fix


async def test_a_damaged_database_is_odd_once_it_was_put_aside(
    host: ThisHost, locations: Locations
) -> None:
    locations.database.write_bytes(b"garbage" * 1000)
    assert (await host.database()).mark is Mark.WARN
    assert (await host.database()).mark is Mark.OK


@pytest.mark.parametrize(
    ("question", "mark"),
    [("qemu", Mark.FAIL), ("spice", Mark.FAIL), ("qemu_img", Mark.WARN), ("viewer", Mark.WARN)],
)
async def test_what_is_missing_says_how_to_install_it(
    question: str, mark: Mark, host: ThisHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    finding = await getattr(host, question)()
    assert finding.mark is mark
    assert "nstall" in finding.fix


async def test_no_kvm_is_odd_but_not_broken(
    host: ThisHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = probe.Finding(usable=False, detail="/dev/kvm cannot be opened", fix="Join kvm")
    monkeypatch.setattr(probe, "kvm", lambda: lacking)
    assert (await host.kvm()).mark is Mark.WARN


async def test_a_clock_before_the_installation_is_wrong(
    host: ThisHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    late = tmp_path / "late"
    late.touch()
    os.utime(late, (4e9, 4e9))
    monkeypatch.setattr(host_probes, "INSTALLED", late)
    assert (await host.clock()).mark is Mark.FAIL


async def test_no_display_says_what_to_do_from_elsewhere(
    host: ThisHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert "export-vv" in (await host.display()).fix
    monkeypatch.setenv("DISPLAY", ":0")
    assert (await host.display()).mark is Mark.OK
