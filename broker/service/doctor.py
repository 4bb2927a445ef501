"""Walks the path a viewer would walk, and names the first broken step with its fix.

Pure: it knows the order of the steps and when to stop. What is looked at comes in as callables,
because the things looked at (QEMU, sockets, the database) belong to other rooms.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from broker.clock import Clock
from broker.errors import BrokerError
from broker.findings import Finding, Mark, Step, broken
from broker.model import MachineKey
from broker.within import within

STEP_SECONDS = 15.0
"""How long one step may take before it counts as broken."""


Look = Callable[[], Coroutine[Any, Any, Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """One step: what it is called, and how to look. A `BrokerError` of the look is a failure."""

    name: str
    look: Look


async def examine(
    checks: Iterable[Check],
    clock: Clock,
    *,
    stop_at_failure: bool,
    step_seconds: float = STEP_SECONDS,
) -> AsyncIterator[Step]:
    """Take the steps in order, and hand out each as it is done.

    Args:
        stop_at_failure: A step stands on the one before, so nothing follows a broken one.
        step_seconds: A look that takes longer is broken.
    """
    for check in checks:
        began = clock.monotonic()
        finding = await _look(check, step_seconds)
        yield Step(check.name, finding, clock.monotonic() - began)
        if stop_at_failure and finding.mark is Mark.FAIL:
            return


async def _look(check: Check, step_seconds: float) -> Finding:
    try:
        async with within(step_seconds):
            return await check.look()
    except TimeoutError:
        return broken(
            f"it did not answer within {step_seconds:g} seconds", "Look whether that hangs"
        )
    except BrokerError as exc:
        return broken(exc.what, exc.fix)


class HostProbes(Protocol):
    """Looks at this host. None depends on another, so all are taken."""

    async def directories(self) -> Finding:
        """Ours are there, and ours alone."""
        ...

    async def settings(self) -> Finding:
        """broker.yaml can be read."""
        ...

    async def database(self) -> Finding:
        """It can be opened."""
        ...

    async def clock(self) -> Finding:
        """The time of day can be right."""
        ...

    async def certificate(self) -> Finding:
        """The proxy's certificate is there or can be made."""
        ...

    async def qemu(self) -> Finding:
        """There is an emulator."""
        ...

    async def spice(self) -> Finding:
        """The emulator has SPICE."""
        ...

    async def kvm(self) -> Finding:
        """Guests can run at full speed."""
        ...

    async def uefi(self) -> Finding:
        """There is firmware for UEFI guests."""
        ...

    async def qemu_img(self) -> Finding:
        """Images can be looked at."""
        ...

    async def port(self) -> Finding:
        """A proxy serves, or could."""
        ...

    async def viewer(self) -> Finding:
        """A viewer is installed."""
        ...

    async def display(self) -> Finding:
        """There is a screen to show it on."""
        ...


def host_checks(probes: HostProbes) -> tuple[Check, ...]:
    """What is looked at on a host, in the order a person would mend it."""
    return (
        Check("directories", probes.directories),
        Check("settings", probes.settings),
        Check("database", probes.database),
        Check("clock", probes.clock),
        Check("certificate", probes.certificate),
        Check("QEMU", probes.qemu),
        Check("SPICE", probes.spice),
        Check("KVM", probes.kvm),
        Check("UEFI", probes.uefi),
        Check("qemu-img", probes.qemu_img),
        Check("proxy", probes.port),
        Check("viewer", probes.viewer),
        Check("display", probes.display),
    )


class PathProbes(Protocol):
    """Looks along the path from a console's name to its picture; each stands on the one before."""

    async def known(self) -> Finding:
        """The name is that of one console."""
        ...

    async def source(self) -> Finding:
        """Its source was read without an error."""
        ...

    async def screen(self) -> Finding:
        """The machine runs and has a screen."""
        ...

    async def process(self) -> Finding:
        """Its QEMU lives, where it is of this host."""
        ...

    async def monitor(self) -> Finding:
        """Its monitor answers."""
        ...

    async def server(self) -> Finding:
        """Its SPICE server is on."""
        ...

    async def reach(self) -> Finding:
        """Something accepts a connection there."""
        ...

    async def certificate(self) -> Finding:
        """It is the right machine, where TLS is spoken."""
        ...

    async def link(self) -> Finding:
        """It speaks SPICE."""
        ...

    async def ticket(self) -> Finding:
        """It takes our ticket."""
        ...

    async def proxy(self) -> Finding:
        """A proxy serves."""
        ...

    async def proxy_certificate(self) -> Finding:
        """It shows the certificate that .vv files name."""
        ...

    async def file(self) -> Finding:
        """A .vv file can be made."""
        ...

    async def viewer(self) -> Finding:
        """A viewer can be shown here."""
        ...


def path_checks(probes: PathProbes) -> tuple[Check, ...]:
    """The steps from a console's name to its picture, in order."""
    return (
        Check("name", probes.known),
        Check("source", probes.source),
        Check("screen", probes.screen),
        Check("process", probes.process),
        Check("QMP", probes.monitor),
        Check("server", probes.server),
        Check("connection", probes.reach),
        Check("certificate", probes.certificate),
        Check("SPICE", probes.link),
        Check("ticket", probes.ticket),
        Check("proxy", probes.proxy),
        Check("proxy TLS", probes.proxy_certificate),
        Check(".vv file", probes.file),
        Check("viewer", probes.viewer),
    )


class DiagnosingVerbs:
    """The port's verb for it; see `broker.service.port.Service`.

    Args:
        probes: Looks along the path to one console.
    """

    def __init__(
        self, clock: Clock, probes: Callable[[MachineKey], Coroutine[Any, Any, PathProbes]]
    ) -> None:
        self._diagnosing_clock = clock
        self._probes = probes

    async def diagnose(self, key: MachineKey) -> AsyncGenerator[Step, None]:
        """The steps of a viewer's way, up to the first that is broken."""
        checks = path_checks(await self._probes(key))
        async for step in examine(checks, self._diagnosing_clock, stop_at_failure=True):
            yield step
