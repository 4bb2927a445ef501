"""The load generator tells the truth; nothing here looks at a clock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.relay import build, cases, contenders, goals, kerbside, page, tables
from bench.relay.contenders import Contender
from bench.relay.runs import Bench, RunFailed, layouts
from bench.relay.watching import cpu_seconds, memory

needs_generator = pytest.mark.skipif(
    bool(build.missing()), reason="cc or OpenSSL's headers are not installed"
)
FREE = layouts()["free"]


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> build.Generator:
    return build.build(tmp_path_factory.mktemp("generator"))


@pytest.fixture(scope="module")
def backend(generator: build.Generator) -> Iterator[tuple[int, int]]:
    with contenders.server(generator.server) as found:
        yield found


@pytest.fixture
def bench(generator: build.Generator, backend: tuple[int, int]) -> Bench:
    return Bench(generator, backend[1])


@pytest.fixture(params=["direct", "ours"])
def contender(
    request: pytest.FixtureRequest, backend: tuple[int, int], tmp_path: Path
) -> Iterator[Contender]:
    if request.param == "direct":
        with contenders.direct(backend[0]) as found:
            yield found
    else:
        with contenders.ours(backend[0], tmp_path) as found:
            yield found


@needs_generator
def test_a_blast_arrives_whole_and_in_order(bench: Bench, contender: Contender) -> None:
    said = bench.run(contender, FREE, "verify", body=4096, messages=700).said
    assert (said["messages"], said["bytes"], said["whole"]) == (700, 700 * (6 + 4096), True)


@needs_generator
@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_a_drain_counts_what_was_sent(bench: Bench, contender: Contender, tls: str) -> None:
    said = bench.run(contender, FREE, "drain", tls=tls, channels=2, body=256, seconds=0.1).said
    assert said["bytes"] > 0
    assert 0 <= said["overhead"] < 0.05
    assert (said["overhead"] > 0) is contender.tls


@needs_generator
def test_keys_are_answered_beside_a_display(bench: Bench, contender: Contender) -> None:
    said = bench.run(contender, FREE, "ping", channels=2, beside=5, seconds=0.1).said
    assert said["trips"] > 0
    assert 0 < said["p50"] <= said["p99"] <= said["max"]
    assert said["beside"] > 0


@needs_generator
@pytest.mark.parametrize("mode", ["storm", "storm-main"])
def test_every_handshake_of_a_storm_succeeds(bench: Bench, contender: Contender, mode: str) -> None:
    said = bench.run(contender, FREE, mode, at_once=4, seconds=0.2).said
    assert said["links"] > 0
    assert said["failed"] == 0


@needs_generator
def test_idle_and_stalled_channels_can_be_held(bench: Bench, contender: Contender) -> None:
    with bench.holding(contender, FREE, "idle", channels=10):
        assert bench.run(contender, FREE, "verify", body=100_000).said["whole"] is True
    with bench.holding(contender, FREE, "stall", channels=2, body=65536):
        assert bench.run(contender, FREE, "verify", body=100_000).said["whole"] is True


@needs_generator
def test_a_token_is_given_to_the_client_in_no_command_line(
    bench: Bench, backend: tuple[int, int]
) -> None:
    secret = "not-for-everybody"
    held = Contender("held", backend[0], tls=False, pids=(), token=lambda: secret)
    with bench.holding(held, FREE, "idle", channels=1):
        seen = {"cmdline": b"", "environ": b""}
        for process in Path("/proc").glob("[0-9]*"):
            for name in seen:
                with contextlib.suppress(OSError):  # it has ended, or is somebody else's
                    seen[name] += (process / name).read_bytes()
    assert b"load_client" in seen["cmdline"]
    assert secret.encode() not in seen["cmdline"]
    assert b"LOAD_TOKEN=" + secret.encode() in seen["environ"]


@needs_generator
def test_a_run_that_cannot_work_fails_with_the_clients_words(
    bench: Bench, backend: tuple[int, int]
) -> None:
    plain_as_tls = Contender("wrong", backend[0], tls=True, pids=())
    with pytest.raises(RunFailed, match="MAIN: TLS"):
        bench.run(plain_as_tls, FREE, "ping")
    samples = cases.Samples()
    case = cases.Case("a key", lambda one: dict(bench.run(one, FREE, "ping").said))
    cases.in_turns([case], [plain_as_tls], 1, samples)
    assert samples.found == {}
    assert [failure.partition(":")[0] for failure in samples.failed] == ["a key, wrong"]


def test_what_is_missing_is_named_as_apt_has_it() -> None:
    assert str(build.ToolMissing("openssl", "haproxy")) == (
        "not installed: openssl, haproxy. apt-get install -y libssl-dev haproxy"
    )


def test_a_process_is_watched_by_its_id() -> None:
    import os

    sum(range(200_000))
    assert cpu_seconds([os.getpid()]) > 0
    seen = memory([os.getpid()])
    assert 0 < seen.pss <= seen.rss


@pytest.fixture
def samples() -> cases.Samples:
    found = cases.Samples()
    found.add("direct", {"RTT p50, 1 channel": 10})
    found.add("HAProxy", {"RTT p50, 1 channel": 112, "CPU s/GB, 1 x 256 B": 1.0})
    found.add(kerbside.NAME, {"RTT p50, 1 channel": 90, "CPU s/GB, 1 x 256 B": 8.0})
    found.add("ours", {"RTT p50, 1 channel": 98, "CPU s/GB, 1 x 256 B": 1.5})
    found.add("ours", {"CPU s/GB, 1 x 256 B": 0.9})
    goals.with_added(found)
    return found


def test_goals_are_judged_by_medians_of_the_same_run(samples: cases.Samples) -> None:
    judged = {verdict.goal.figure: verdict for verdict in goals.judge(samples)}
    assert {figure: verdict.word for figure, verdict in judged.items()} == {
        "CPU s/GB, 1 x 256 B": "not met",
        "RTT p50 added, 1 channel": "met",
    }
    added = judged["RTT p50 added, 1 channel"]
    assert (added.value, added.limit) == (88, 1.1 * 80)


def test_a_plain_number_is_scaled_by_what_another_had_when_it_was_set() -> None:
    found = cases.Samples()
    found.add(kerbside.NAME, {"RTT p50, in a storm": 51})
    found.add("ours, 2 workers", {"RTT p50, in a storm": 80})
    (storm,) = goals.judge(found)
    assert (storm.limit, storm.here, storm.word) == (60, 60 * 51 / 34, "met here")
    assert tables.goals([storm])[2].endswith(
        "| ≤ 60; here 90, kerbside-proxy had 34 | 80 | met here |"
    )


def test_a_goal_beside_a_contender_that_was_not_there_is_not_judged(samples: cases.Samples) -> None:
    for by_contender in samples.found.values():
        by_contender.pop(kerbside.NAME, None)
    judged = [verdict.goal.figure for verdict in goals.judge(samples)]
    assert judged == ["CPU s/GB, 1 x 256 B"]


def test_tables_give_medians_spreads_and_ratios(samples: cases.Samples) -> None:
    lines = tables.figures(samples, ["direct", "HAProxy", kerbside.NAME, "ours"])
    assert "| CPU s/GB, 1 x 256 B | 1 | 8 | 1.20 (0.90-1.50) | 1.20x | 0.15x |" in lines
    assert tables.goals(goals.judge(samples))[2].endswith("| ≤ 1 (1 x HAProxy) | 1.20 | not met |")


@pytest.mark.slow
def test_kerbside_takes_the_same_viewer_to_the_same_server(
    bench: Bench, backend: tuple[int, int], tmp_path: Path
) -> None:
    home = kerbside.fetch(tmp_path)
    with kerbside.proxy(backend[0], tmp_path, home) as contender:
        assert bench.run(contender, FREE, "ping").said["trips"] > 0


def test_the_page_keeps_what_stands_around_the_marks(tmp_path: Path) -> None:
    written = tmp_path / "performance.md"
    written.write_text(f"before\n{page.BEGIN}old\n{page.END}after\n")
    page.put(written, "| new |\n")
    assert written.read_text() == f"before\n{page.BEGIN}\n| new |\n\n{page.END}after\n"


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    written = tmp_path / "performance.md"
    written.write_text("nothing")
    with pytest.raises(ValueError, match="marks"):
        page.put(written, "x")
    assert written.read_text() == "nothing"


def test_our_own_page_has_the_marks() -> None:
    text = (contenders.ROOT / "docs" / "performance.md").read_text()
    assert text.count(page.BEGIN) == text.count(page.END) == 1
