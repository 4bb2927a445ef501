"""Acts that wait a few seconds, so that a slip can be taken back."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final

from textual.app import App
from textual.timer import Timer

UNDO_SECONDS: Final = 5.0


@dataclass(slots=True)
class _Waiting:
    label: str
    act: Callable[[], None]
    of: Hashable
    timer: Timer | None = None


class Undo:
    """What is about to be done. The newest is taken back first.

    Args:
        seconds: How long an act waits; 0 does it at once.
        key: The key that takes it back, for people.
    """

    def __init__(self, app: App[Any], *, seconds: float, key: Callable[[], str]) -> None:
        self._app = app
        self._seconds = seconds
        self._key = key
        self._waiting: list[_Waiting] = []

    def later(self, label: str, act: Callable[[], None], of: Hashable) -> None:
        """Do it in a while. Asking for the same again does it now.

        Args:
            of: What is done to what: two machines may have one name, two sets one number.
        """
        same = next((one for one in self._waiting if one.of == of), None)
        if same is not None:
            self._do(same)
        elif not self._seconds:
            act()
        else:
            one = _Waiting(label, act, of)
            one.timer = self._app.set_timer(self._seconds, lambda: self._do(one))
            self._waiting.append(one)
            self._app.notify(
                f"In {self._seconds:g} s. {self._key()} undoes it; the same again does it now",
                title=label,
                timeout=self._seconds,
                markup=False,
            )

    def take_back(self) -> str:
        """Do not do what was asked for last; its label, or nothing when nothing waits."""
        if not self._waiting:
            return ""
        one = self._waiting.pop()
        if one.timer is not None:
            one.timer.stop()
        return one.label

    def drop_all(self) -> list[str]:
        """Do none of it: the app goes. Their labels."""
        return [self.take_back() for _ in range(len(self._waiting))]

    def _do(self, one: _Waiting) -> None:
        if one in self._waiting:
            self._waiting.remove(one)
            if one.timer is not None:
                one.timer.stop()
            one.act()
