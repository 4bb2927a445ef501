from __future__ import annotations

import asyncio

from broker.bus import Bus


async def test_every_subscriber_gets_every_message_in_order() -> None:
    bus: Bus[int] = Bus()
    with bus.subscribe() as one, bus.subscribe() as two:
        bus.publish(1)
        bus.publish(2)
        assert [await anext(one), await anext(one)] == [1, 2]
        assert [await anext(two), await anext(two)] == [1, 2]


async def test_who_subscribes_later_hears_nothing_of_before() -> None:
    bus: Bus[int] = Bus()
    bus.publish(1)
    with bus.subscribe() as late:
        bus.publish(2)
        assert await anext(late) == 2


async def test_a_waiting_subscriber_wakes() -> None:
    bus: Bus[str] = Bus()
    with bus.subscribe() as subscription:
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(anext(subscription), name="waits")
            await asyncio.sleep(0)
            bus.publish("now")
        assert waiting.result() == "now"


async def test_messages_of_one_key_become_the_newest() -> None:
    bus: Bus[tuple[str, int]] = Bus()
    with bus.subscribe(key=lambda message: message[0]) as subscription:
        for message in (("a", 1), ("b", 1), ("a", 2)):
            bus.publish(message)
        assert [await anext(subscription), await anext(subscription)] == [("a", 2), ("b", 1)]


async def test_beyond_the_limit_the_oldest_is_dropped_and_counted() -> None:
    bus: Bus[int] = Bus()
    with bus.subscribe(limit=2) as slow:
        for number in range(5):
            bus.publish(number)
        assert slow.missed == 3
        assert [await anext(slow), await anext(slow)] == [3, 4]


async def test_closing_ends_the_iteration_once_it_is_empty() -> None:
    bus: Bus[int] = Bus()
    with bus.subscribe() as subscription:
        bus.publish(1)
    bus.publish(2)
    assert [message async for message in subscription] == [1]


async def test_closing_wakes_whoever_waits() -> None:
    bus: Bus[int] = Bus()
    subscription = bus.subscribe()

    async def take_all() -> list[int]:
        return [message async for message in subscription]

    async with asyncio.TaskGroup() as group:
        taking = group.create_task(take_all(), name="takes")
        await asyncio.sleep(0)
        subscription.close()
        subscription.close()
    assert taking.result() == []
