"""Keys as a person wants them: what is wrong with a wish, and taking it up at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from broker import human
from tui import keys
from tui.act import REMAPPED, Act, display

_touched: set[str] = set()
"""Ids whose keys were other ones at some time; Textual must be told of them again."""


def remap(wanted: Mapping[str, str]) -> list[str]:
    """Use other keys, by id, from now on; what is wrong with them, a sentence each.

    What is wrong is left as it was. `bound` is what Textual is told.
    """
    problems = []
    for id_, key in wanted.items():
        if id_ not in keys.BY_ID:
            known = human.did_you_mean(id_, keys.BY_ID)
            problems.append(f"{id_} is nothing that a key does. {known}".rstrip())
        elif not key.strip(", ") or human.one_line(key) != key:
            problems.append(f"{id_} has no key")
        else:
            use(id_, key.replace(" ", ""))
    for name in keys.SCREENS:
        problems += _clashes(name, _acts_of(name))
    return problems


def use(id_: str, wanted: str | None) -> None:
    """Have those keys do it from now on; None goes back to those it comes with."""
    if wanted is None:
        REMAPPED.pop(id_, None)
    else:
        REMAPPED[id_] = wanted
    _touched.add(id_)


def bound() -> dict[str, str]:
    """What `App.set_keymap` is to be told: also of keys that are as they come again."""
    return {id_: keys.BY_ID[id_].key_now for id_ in _touched if id_ in keys.BY_ID}


def taken_by(id_: str, key: str) -> list[tuple[str, Act]]:
    """What else a key does where that act can be done, with the names of the screens."""
    found: list[tuple[str, Act]] = []
    for name in keys.SCREENS:
        here = _acts_of(name)
        if not any(act.id == id_ for act in here):
            continue
        found += [(name, act) for act in here if act.id != id_ and key in act.key_now.split(",")]
    return found


def _acts_of(name: str) -> tuple[Act, ...]:
    beside = () if name in keys.ALONE else (*keys.TABLE, *keys.APP)
    return (*keys.SCREENS[name], *beside)


def _clashes(name: str, here: Iterable[Act]) -> Iterator[str]:
    taken: dict[str, str] = {}
    for act in here:
        for key in act.key_now.split(","):
            if taken.setdefault(key, act.id) != act.id:
                yield f"{name}: {display(key)} is both {taken[key]} and {act.id}"
