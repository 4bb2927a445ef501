"""Publish and subscribe inside one process and one event loop: bounded, coalescing, no threads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Subscription(Generic[T]):
    """What one subscriber has not taken yet; iterate over it, close it by leaving its `with`.

    Attributes:
        missed: How many messages were dropped because nobody took them.
    """

    missed: int

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(self, *exc: object) -> None:
        raise NotImplementedError

    def __aiter__(self) -> AsyncIterator[T]:
        raise NotImplementedError

    async def __anext__(self) -> T:
        """The oldest message not taken yet; waits for one. Ends once closed and empty."""
        raise NotImplementedError


class Bus(Generic[T]):
    """Hands each message to everybody who subscribed before it was published."""

    def publish(self, message: T) -> None:
        """Give a message to every subscriber. Never waits; only from the loop's own thread."""
        raise NotImplementedError

    def subscribe(
        self, *, limit: int = 256, key: Callable[[T], Hashable] | None = None
    ) -> Subscription[T]:
        """A new subscription.

        Args:
            limit: Messages kept for a subscriber that is slow; the oldest is dropped beyond that.
            key: Messages with the same key become one: the newest takes the older one's place.
        """
        raise NotImplementedError
