"""Nothing is done by a slip: undo, questions that name, many at once, read-only."""

from __future__ import annotations

from dataclasses import replace

from broker.errors import BrokerError
from broker.model import MachineKey, SourceName, State
from broker.service.port import ExportRequest
from tests.fakes.service import FakeService, console, few, session
from tests.tui.conftest import Drive, settle, text_of, until


def asked_of(service: FakeService, verb: str) -> list[object]:
    return [what[0] for name, *what in service.asked if name == verb]


async def test_shutting_down_waits_and_z_takes_it_back(drive: Drive, service: FakeService) -> None:
    async with drive(service, undo_seconds=60) as pilot:
        await pilot.press("j", "j", "p", "d")
        await settle(pilot)
        assert "z undoes it" in text_of(pilot)
        await pilot.press("z")
        await settle(pilot)
        assert "Not done" in text_of(pilot)
        await pilot.press("z")
        await settle(pilot)
        assert "Nothing waits to be undone" in text_of(pilot)
    assert asked_of(service, "stop") == []


async def test_what_waits_is_done_when_its_time_is_over(drive: Drive, service: FakeService) -> None:
    async with drive(service, undo_seconds=0.05) as pilot:
        await pilot.press("j", "j", "p", "d")
        for _ in range(100):
            await settle(pilot)
            if asked_of(service, "stop"):
                break
    assert asked_of(service, "stop") == [service.named("demo").machine.key]


async def test_asking_for_the_same_again_does_it_now(drive: Drive, service: FakeService) -> None:
    async with drive(service, undo_seconds=60) as pilot:
        await pilot.press("j", "j", "p", "d", "p", "d")
        await settle(pilot)
        assert asked_of(service, "stop") == [service.named("demo").machine.key]


async def test_what_waits_when_the_app_goes_is_not_done_and_said(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service, undo_seconds=60) as pilot:
        await pilot.press("j", "j", "p", "d", "q")
        await settle(pilot)
        assert "not done: Shutting down demo" in pilot.app.farewell  # type: ignore[attr-defined]
    assert asked_of(service, "stop") == []


async def test_marked_machines_are_done_together_and_told_in_one_toast(
    drive: Drive, service: FakeService
) -> None:
    service.failing["stop"] = BrokerError("The guest does not listen", fix="Kill it")
    async with drive(service) as pilot:
        await pilot.press(*"/source:here state:run", "enter", "asterisk", "p")
        await settle(pilot)
        assert "Power: 2 machines" in text_of(pilot)
        await pilot.press("d")
        await settle(pilot)
        assert "0 of 2 shut down; 2 failed: ! shows why" in text_of(pilot)
        await pilot.press("exclamation_mark")
        await settle(pilot)
        assert "here/web-01: The guest does not listen" in text_of(pilot)
    assert set(asked_of(service, "stop")) == {
        service.named(name).machine.key for name in ("demo", "web-01")
    }


async def test_a_question_names_machines_and_who_is_connected(drive: Drive) -> None:
    service = FakeService(few({"demo": 1}))
    service.live = [session(service.named("demo"), "k3f9a0b1c2d1", "192.0.2.10:51344")]
    async with drive(service) as pilot:
        await pilot.press("j", "j", "space", *"/web-01", "enter", "space", "p", "k")
        await settle(pilot)
        shown = text_of(pilot)
        assert "Kill 2 machines?" in shown
        assert "here/demo   running, 1 connected: ana 192.0.2.10:51344" in shown
        assert "here/web-01   running" in shown
        await pilot.press("y")
        await settle(pilot)
    assert len(asked_of(service, "kill")) == 2


async def test_many_machines_are_killed_only_when_their_number_is_typed(drive: Drive) -> None:
    service = FakeService([console(f"vm-{n:02d}", "here", n) for n in range(12)])
    async with drive(service) as pilot:
        await pilot.press("asterisk", "p", "k")
        await settle(pilot)
        assert "Kill 12 machines?" in text_of(pilot)
        await pilot.press("y", "enter")
        await settle(pilot)
        assert asked_of(service, "kill") == []
        await pilot.press("backspace", "1", "2", "enter")
        await settle(pilot)
    assert len(asked_of(service, "kill")) == 12


async def test_marks_outlive_filters_refreshes_and_outages(
    drive: Drive, service: FakeService
) -> None:
    keys: list[MachineKey] = []
    async with drive(service) as pilot:
        await pilot.press("j", "j", "space", *"/web", "enter", "space")
        service.failing["consoles"] = BrokerError("The database is locked")
        service.changed()
        await settle(pilot)
        del service.failing["consoles"]
        service.rows.insert(0, console("aaa", "here", 90))
        service.changed()
        await settle(pilot)
        assert "✓ 2 marked" in text_of(pilot)
        keys += [info.machine.key for info in pilot.app.screen.chosen()]  # type: ignore[attr-defined]
        await pilot.press("escape")
        await settle(pilot)
        assert "marked" not in text_of(pilot)
    assert keys == [service.named(name).machine.key for name in ("demo", "web-01")]


async def test_readonly_changes_nothing_and_opens_to_look_only(
    drive: Drive, service: FakeService
) -> None:
    service.live = [session(service.named("demo"), "k3f9a0b1c2d1", "192.0.2.10:51344")]
    async with drive(service, readonly=True) as pilot:
        await pilot.press("j", "j", "p")
        await settle(pilot)
        assert "look, do not touch" in text_of(pilot)
        await pilot.press("n", "2", "x", "1", "enter")
        await settle(pilot)
    changing = {"stop", "kill", "start", "define", "disconnect", "delete"}
    assert changing.isdisjoint(verb for verb, *_ in service.asked)
    request = service.asked[-1][2]
    assert isinstance(request, ExportRequest)
    assert request.policy.view_only


async def test_sessions_are_ended_in_a_moment_by_their_ids(
    drive: Drive, service: FakeService
) -> None:
    demo = service.named("demo")
    service.live = [session(demo, f"k3f9a0b1c2d{n}", f"192.0.2.{n}:51344") for n in range(3)]
    async with drive(service, undo_seconds=60) as pilot:
        await pilot.press("2", "space", "space", "x")
        await settle(pilot)
        assert "Disconnecting 2 sessions" in text_of(pilot)
        service.live.insert(0, session(demo, "zzz", "192.0.2.99:1"))
        service.changed()
        await settle(pilot)
        assert asked_of(service, "disconnect") == []
        await pilot.press("z", "space", "space", "space", "x", "x")
        await settle(pilot)
    assert State.RUNNING is service.named("demo").machine.state


async def test_the_same_name_elsewhere_is_not_the_same_again(
    drive: Drive, service: FakeService
) -> None:
    demo = service.named("demo")
    twin = replace(demo.machine, key=replace(demo.machine.key, source=SourceName("there")))
    service.rows = [demo, replace(demo, machine=twin)]
    async with drive(service, undo_seconds=60) as pilot:
        await pilot.press("g", "p", "d", "j", "p", "d")
        await settle(pilot)
        assert asked_of(service, "stop") == []
        await pilot.press("p", "d")
        await settle(pilot)
    assert asked_of(service, "stop") == [twin.key]


async def test_as_many_others_are_not_the_same_again(drive: Drive, service: FakeService) -> None:
    demo = service.named("demo")
    service.live = [session(demo, f"k3f9a0b1c2d{n}", f"192.0.2.{n}:51344") for n in range(4)]
    async with drive(service, undo_seconds=60) as pilot:
        await pilot.press("2", "g", "space", "space", "x", "space", "space", "x")
        await settle(pilot)
        assert asked_of(service, "disconnect") == []


async def test_a_second_message_does_not_take_the_first_one_s_place(
    drive: Drive, service: FakeService
) -> None:
    service.live = [session(service.named("demo"), "k3f9a0b1c2d1", "192.0.2.1:51344")]
    async with drive(service, undo_seconds=60) as pilot:
        await pilot.press("2", "m", *"one", "enter", "m", *"two", "enter")
        await settle(pilot)
        assert asked_of(service, "message") == []
        await pilot.press("q")
        await until(pilot, "Keep them")
        await pilot.press("k")
        await settle(pilot)
        assert pilot.app.farewell.count("Telling") == 2  # type: ignore[attr-defined]
