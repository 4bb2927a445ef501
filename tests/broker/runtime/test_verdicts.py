"""Verdicts become rows of the audit log: few, and none is lost."""

from __future__ import annotations

from broker.events import Kind
from broker.proxy.gate import Judged
from broker.runtime.verdicts import ROW_EVERY, VerdictLog
from tests.broker.store.nouns import NOW, session

SESSION = session()


class Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def notice(verdict: str = "dropped", channel: str = "inputs.0", **messages: int) -> Judged:
    named = tuple((name.replace("_", "-"), count) for name, count in messages.items())
    return Judged(SESSION.id, channel, verdict, named)


def texts(log: VerdictLog, *, all_of_it: bool = False) -> list[str]:
    return [row.text for row in log.due(NOW, all_of_it=all_of_it)]


def test_the_first_is_told_at_once_and_the_rest_as_one() -> None:
    clock = Clock()
    log = VerdictLog(clock)
    log.add(SESSION, notice(key_down=1))
    assert texts(log) == ["inputs.0: 1 message dropped by policy (key-down 1)"]
    for _ in range(1000):
        log.add(SESSION, notice(key_down=1, key_up=1))
    clock.now += ROW_EVERY - 0.1
    assert texts(log) == []
    clock.now += 0.1
    assert texts(log) == ["inputs.0: 2000 messages dropped by policy (key-down 1000, key-up 1000)"]


def test_channels_and_verdicts_are_told_apart() -> None:
    log = VerdictLog(Clock())
    log.add(SESSION, notice("dropped", "inputs.0", key_down=1))
    log.add(SESSION, notice("warned", "inputs.0", key_down=2))
    log.add(SESSION, notice("refused", "main", ping=1))
    assert [(row.kind, row.reason, row.text, row.session) for row in log.due(NOW)] == [
        (
            Kind.MESSAGE_DROPPED,
            "policy",
            "inputs.0: 1 message dropped by policy (key-down 1)",
            SESSION.id,
        ),
        (
            Kind.MESSAGE_WARNED,
            "firewall",
            "inputs.0: 2 messages let by that the firewall would refuse (key-down 2)",
            SESSION.id,
        ),
        (Kind.MESSAGE_REFUSED, "firewall", "main: 1 message refused (ping 1)", SESSION.id),
    ]


def test_one_row_names_a_few_kinds() -> None:
    log = VerdictLog(Clock())
    many = tuple((f"k{n}", 10 - n) for n in range(9))
    log.add(SESSION, Judged(SESSION.id, "inputs.0", "dropped", many))
    (text,) = texts(log)
    assert text.endswith("(k0 10, k1 9, k2 8, k3 7, k4 6, k5 5, and 3 kinds more)")


def test_at_the_end_everything_is_told() -> None:
    log = VerdictLog(Clock())
    log.add(SESSION, notice(key_down=1))
    assert len(texts(log)) == 1
    log.add(SESSION, notice(key_down=5))
    assert texts(log, all_of_it=True) == ["inputs.0: 5 messages dropped by policy (key-down 5)"]


def test_what_was_told_is_forgotten_in_time() -> None:
    clock = Clock()
    log = VerdictLog(clock)
    log.add(SESSION, notice(key_down=1))
    assert len(texts(log)) == 1
    clock.now += ROW_EVERY
    assert texts(log) == []
    assert log._pending == {}
