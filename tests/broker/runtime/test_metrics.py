"""What Prometheus reads."""

from __future__ import annotations

import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from broker import __version__
from broker.errors import StoreError, UsageError
from broker.latency import bucket_of
from broker.runtime import exporter
from broker.runtime.exporter import exporting
from broker.runtime.metrics import COUNTERS, HISTOGRAMS, Metrics, usage_of
from tests.fakes.service import console, session

LIVE = session(console("secret-name"), "abcdefabcdef", "192.0.2.9:51234")
LIVE = replace(LIVE, label="Ada")
COUNTS = {
    "opened": 3.0,
    "ended:client-closed": 2.0,
    "refused:token-used": 5.0,
    "bytes:client:display": 1e9,
    "messages:dropped:inputs": 7.0,
    f"ping:main:{bucket_of(0.010)}": 9.0,
    f"ping:main:{bucket_of(0.100)}": 1.0,
    f"lag:{bucket_of(1e-6)}": 4.0,
    "of-a-later-version:x": 1.0,
}

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def metrics(counts: dict[str, float] | None = None) -> Metrics:
    return Metrics(
        lambda: COUNTS if counts is None else counts,
        lambda: [LIVE],
        lambda: {"supervisor": os.getpid(), "worker-0": 2**22 + 1},
    )


def shown(collector: Metrics) -> str:
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode()


@pytest.fixture(scope="module")
def seen() -> Samples:
    return samples(shown(metrics()))


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("broker_build_info", {"version": __version__}, 1),
        ("broker_sessions_opened_total", {}, 3),
        ("broker_sessions_ended_total", {"reason": "client-closed"}, 2),
        ("broker_refused_total", {"reason": "token-used"}, 5),
        ("broker_bytes_total", {"to": "client", "channel": "display"}, 1e9),
        ("broker_messages_judged_total", {"verdict": "dropped", "channel": "inputs"}, 7),
        ("broker_sessions", {}, 1),
        ("broker_channels", {"channel": "display"}, 1),
        ("broker_ping_seconds_count", {"channel": "main"}, 10),
        ("broker_key_to_draw_seconds_count", {}, 0),
        ("broker_worker_lag_seconds_bucket", {"le": repr(16e-6)}, 4),
    ],
)
def test_a_sample_is_shown(seen: Samples, name: str, labels: dict[str, str], value: float) -> None:
    assert seen[name, tuple(sorted(labels.items()))] == value


def test_a_histogram_grows_by_doublings(seen: Samples) -> None:
    buckets = {
        float(dict(labels)["le"]): value
        for (name, labels), value in seen.items()
        if name == "broker_ping_seconds_bucket"
    }
    assert [bound for bound in buckets if 0.01 < bound < 0.2] == [
        pytest.approx(0.016384), pytest.approx(0.032768), pytest.approx(0.065536),
        pytest.approx(0.131072),
    ]  # fmt: skip
    assert [buckets[bound] for bound in sorted(buckets)] == sorted(buckets.values())
    assert buckets[float("inf")] == 10
    ping_sum = seen["broker_ping_seconds_sum", (("channel", "main"),)]
    assert ping_sum == pytest.approx(9 * 0.010 + 0.100, rel=0.06)


def test_a_process_is_measured_and_one_that_ended_is_left_out(seen: Samples) -> None:
    ours = seen["broker_process_resident_memory_bytes", (("process", "supervisor"),)]
    assert ours > 1_000_000
    assert not [1 for _, labels in seen if ("process", "worker-0") in labels]
    usage = usage_of(os.getpid())
    assert usage is not None
    assert usage.cpu > 0
    assert usage.descriptors >= 3


def test_nobody_and_no_console_is_named() -> None:
    text = shown(metrics())
    for secret in ("secret-name", "Ada", "192.0.2.9", "abcdefabcdef"):
        assert secret not in text


def test_every_metric_is_there_before_anything_happened() -> None:
    text = shown(metrics({}))
    for family in COUNTERS:
        assert f"# TYPE {family.name}_total counter" in text
    for family in HISTOGRAMS:
        assert f"# TYPE {family.name} histogram" in text


# -- over HTTP


@pytest.fixture
def port() -> Iterator[int]:
    with exporting(0, metrics()) as port:
        yield port


def get(port: int, path: str = "/metrics", **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=90) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.read().decode()


def test_metrics_can_be_scraped(port: int) -> None:
    status, text = get(port)
    assert status == 200
    assert samples(text)["broker_sessions_opened_total", ()] == 3


def test_nothing_else_is_there(port: int) -> None:
    assert [get(port, path)[0] for path in ("/", "/metrics/x", "/metrics?x=1")] == [404, 404, 200]


def test_a_page_of_another_host_is_shown_nothing(port: int) -> None:
    assert get(port, Host="evil.example")[0] == 403
    assert get(port, Host=f"evil.example:{port}")[0] == 403
    assert get(port, Host=f"localhost:{port}")[0] == 200
    assert get(port, Host="localhost")[0] == 200
    assert get(port, Host=f"[::1]:{port}")[0] == 200
    assert get(port, Host="evil.example:localhost")[0] == 403


def test_it_can_only_be_read(port: int) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", data=b"x=1")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=90)
    with caught.value:
        assert caught.value.code == 405


def test_who_leaves_early_or_says_nothing_keeps_nobody_waiting_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exporter._Handler, "timeout", 1.0)
    with (
        exporting(0, metrics()) as port,
        socket.create_connection(("127.0.0.1", port)) as silent,
    ):
        assert get(port)[0] == 200
        assert silent.recv(1) == b""


def test_a_database_that_cannot_be_read_is_said_so() -> None:
    def broken() -> dict[str, float]:
        raise StoreError("the database is locked")

    with exporting(0, Metrics(broken, list, dict)) as port:
        assert get(port)[0] == 503


def test_a_busy_port_is_an_error_with_a_way_out(port: int) -> None:
    with pytest.raises(UsageError, match="metrics_port"), exporting(port, metrics()):
        pass
