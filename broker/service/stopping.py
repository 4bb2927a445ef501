"""How a driver is asked to switch a machine off when somebody may be listening."""

from __future__ import annotations

from collections.abc import Callable

from broker.driver import GradualStop, PowerControl
from broker.model import MachineId


async def stop(
    driver: PowerControl,
    machine_id: MachineId,
    grace: float,
    tell: Callable[[str], None] | None,
) -> None:
    """Switch it off gently, and tell each step where there is somebody to tell and it can be told.

    Args:
        grace: Seconds that the guest has, before it is ended.
    """
    if tell is not None and isinstance(driver, GradualStop):
        await driver.stop_visibly(machine_id, timeout=grace, tell=tell)
    else:
        await driver.stop(machine_id, timeout=grace)
