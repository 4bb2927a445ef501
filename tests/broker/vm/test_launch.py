from dataclasses import replace
from pathlib import Path

import pytest

from broker.clock import SystemClock
from broker.errors import StoreError, VmStartFailed
from broker.model import Accel, MachineId, MachineSpec
from broker.vm import launch, probe, reaper
from broker.vm.argv import Engine
from broker.vm.paths import VmPaths
from broker.vm.process import Process
from broker.vm.tries import Died, answers

SPEC = MachineSpec("web-01", MachineId("6f4e2c1a-0000-4000-8000-000000000001"))
KVM, PLAIN, TCG = Engine(Accel.KVM, "host"), Engine(Accel.KVM), Engine(Accel.TCG, "max")


@pytest.fixture
def paths(broker_home: Path) -> VmPaths:
    made = VmPaths(broker_home / "run", broker_home / "data")
    made.prepare()
    return made


@pytest.mark.parametrize(
    ("accel", "kvm", "extra", "expected"),
    [
        pytest.param(Accel.TCG, True, (), [TCG], id="tcg"),
        pytest.param(Accel.KVM, False, (), [KVM, PLAIN], id="kvm, whatever the probe says"),
        pytest.param(Accel.AUTO, True, (), [KVM, PLAIN, TCG], id="auto with kvm"),
        pytest.param(Accel.AUTO, False, (), [TCG], id="auto without"),
        pytest.param(
            Accel.AUTO, True, ("-cpu", "EPYC"), [PLAIN, Engine(Accel.TCG)], id="a cpu of its own"
        ),
    ],
)
def test_the_tries_in_order(
    monkeypatch: pytest.MonkeyPatch,
    accel: Accel,
    kvm: bool,
    extra: tuple[str, ...],
    expected: list[Engine],
) -> None:
    monkeypatch.setattr(probe, "kvm", lambda: probe.Finding(usable=kvm, detail=""))
    assert launch.engines(replace(SPEC, accel=accel, extra_args=extra)) == expected


@pytest.mark.parametrize(
    ("tries", "refused", "expected"),
    [
        ([KVM, PLAIN, TCG], [], [KVM, PLAIN, TCG]),
        ([KVM, PLAIN, TCG], [KVM], [PLAIN, KVM, TCG]),
        ([KVM, PLAIN, TCG], [KVM, PLAIN], [KVM, PLAIN, TCG]),
        ([KVM, PLAIN], [KVM], [PLAIN, KVM]),
        ([TCG], [KVM], [TCG]),
    ],
)
def test_what_failed_before_is_tried_last_and_tcg_after_all_kvm(
    tries: list[Engine], refused: list[Engine], expected: list[Engine]
) -> None:
    assert launch.in_order(tries, [str(engine) for engine in refused]) == expected


@pytest.mark.parametrize(
    ("output", "code", "blamed"),
    [
        ("qemu-system-x86_64: failed to initialize kvm: Permission denied", 1, True),
        ("error: failed to set MSR 0x10a to 0x69", 1, True),
        ("anything", -6, True),
        ("console-broker: -machine q35,accel=kvm\n-drive x: Could not open 'x'", 1, False),
        ("", 1, False),
    ],
)
def test_only_what_another_engine_may_cure_is_tried_again(
    output: str, code: int, blamed: bool
) -> None:
    assert Died(output, code).blames_the_engine is blamed


@pytest.mark.parametrize(
    ("number", "text", "kind"),
    [(28, "No space left on device", StoreError), (13, "Permission denied", VmStartFailed)],
)
async def test_what_the_system_refuses_is_said(
    monkeypatch: pytest.MonkeyPatch, paths: VmPaths, number: int, text: str, kind: type[Exception]
) -> None:
    def refuse(*_: object, **__: object) -> reaper.Spawned:
        raise OSError(number, text, str(paths.qemu_log))

    monkeypatch.setattr(reaper, "spawn", refuse)
    monkeypatch.setattr(probe, "find_qemu", lambda name: name)
    with pytest.raises(kind, match=text):
        await launch.launch(SPEC, paths, qemu="qemu", clock=SystemClock(), start_seconds=1)


GONE = Process(0, 0)
"""One that ended before anybody looked."""


async def test_the_last_of_many_words_is_the_one_that_counts(paths: VmPaths) -> None:
    before, chatter = "console-broker: of before\n", "warning: odd\n" * 2000
    last = "qemu-system-x86_64: failed to initialize kvm: Permission denied\n"
    paths.qemu_log.write_text(before + chatter + last)
    with pytest.raises(Died) as caught:
        await answers("web-01", GONE, paths, len(before))
    assert caught.value.names_the_engine
    with pytest.raises(Died) as short:
        await answers("web-01", GONE, paths, len(before + chatter))
    assert short.value.output == last


async def test_a_log_that_was_taken_away_hides_nothing_but_the_words(paths: VmPaths) -> None:
    with pytest.raises(Died) as caught:
        await answers("web-01", GONE, paths, 0)
    assert caught.value.output == ""
