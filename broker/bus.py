"""Publish and subscribe inside one process and one event loop: bounded, coalescing, no threads."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Subscription(Generic[T]):
    """What one subscriber has not taken yet; iterate over it, and leave its `with` to end it.

    Attributes:
        missed: How many messages were dropped because nobody took them.
    """

    def __init__(self, bus: Bus[T], limit: int, key: Callable[[T], Hashable] | None) -> None:
        self._bus = bus
        self._limit = limit
        self._key = key
        self._waiting: OrderedDict[Hashable, T] = OrderedDict()
        self._number = 0
        self._arrived = asyncio.Event()
        self._closed = False
        self.missed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        """The oldest message not taken yet; waits for one. Ends once closed and empty."""
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popitem(last=False)[1]

    def close(self) -> None:
        """Take no more messages; what waits can still be taken."""
        self._closed = True
        self._arrived.set()
        self._bus.forget(self)

    def put(self, message: T) -> None:
        """Give it one message; called by the bus."""
        if self._key is None:
            self._number += 1
            name: Hashable = self._number
        else:
            name = self._key(message)
        self._waiting[name] = message
        if len(self._waiting) > self._limit:
            self._waiting.popitem(last=False)
            self.missed += 1
        self._arrived.set()


class Bus(Generic[T]):
    """Hands each message to everybody who subscribed before it was published."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription[T]] = []

    def publish(self, message: T) -> None:
        """Give a message to every subscriber. Never waits; only from the loop's own thread."""
        for subscription in tuple(self._subscriptions):
            subscription.put(message)

    def subscribe(
        self, *, limit: int = 256, key: Callable[[T], Hashable] | None = None
    ) -> Subscription[T]:
        """A new subscription.

        Args:
            limit: Messages kept for a subscriber that is slow; the oldest is dropped beyond that.
            key: Messages with the same key become one: the newest takes the older one's place.
        """
        subscription = Subscription(self, limit, key)
        self._subscriptions.append(subscription)
        return subscription

    def forget(self, subscription: Subscription[T]) -> None:
        """Give it nothing more; not an error when it was forgotten before."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
