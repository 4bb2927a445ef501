"""What the page says follows from what was measured; nothing here looks at a clock."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from bench import feel
from broker.headless.probes import Probe
from broker.headless.run import Path
from broker.spice.constants import Display
from broker.spice.pixels import Pixels
from broker.spice.screen import Screen
from broker.spice.wire import SurfaceCreate


def path(name: str, *samples: float) -> Path:
    @contextlib.asynccontextmanager
    async def probing() -> AsyncIterator[Probe]:
        raise AssertionError
        yield

    return Path(name, probing, list(samples))


def test_what_the_proxy_adds_is_judged_by_the_serial_port() -> None:
    serial = [path("proxy", 0.0012, 0.0032), path("direct", 0.0010, 0.0011)]
    keypress = [path("proxy", 0.020), path("direct")]
    (table,) = feel._felt({"serial": serial, "keypress": keypress}).notes
    assert "| +0.20 | +2.10 | +2.10 | p50 < 0.3 ms: met, p99 < 1.0 ms: not met |" in table
    assert "| key to screen, the proxy adds |  | - | - | - |  |" in table


def test_the_frame_that_is_decoded_is_one() -> None:
    screen = Screen()
    screen.receive(Display.SURFACE_CREATE, SurfaceCreate(0, 4, 2, 32, 1).encode())
    painted = screen.receive(Display.DRAW_COPY, feel._frame(4, 2))
    assert painted is not None
    assert (painted.whole, screen.picture()) == (True, Pixels(4, 2, bytes(32)))
