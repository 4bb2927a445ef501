"""The steps of `broker smoke`: the whole spine, from a QEMU to a key press that is answered."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker import vv
from broker.cli import jsonable
from broker.cli.demo_guest import demo_spec
from broker.cli.headless import read_file
from broker.cli.host_probes import ThisHost
from broker.cli.smoke_seats import Picture, Seat, seat
from broker.config.locations import Locations
from broker.demo import ANSWERS, BANNER
from broker.errors import BrokerError, Refused, Unreachable
from broker.findings import Finding, broken, fine
from broker.headless.session import Session, opened
from broker.headless.wire import dialer, target_of
from broker.model import Machine, MachineSpec, SessionId, State
from broker.png import encode_png
from broker.service.doctor import Check
from broker.service.port import Service
from broker.vm.paths import VmPaths
from broker.within import within

LABEL = "smoke"
LOOK_SECONDS = 0.02
SECRET = "(taken out)"  # noqa: S105 - what stands in the place of one


Look = Callable[[], Coroutine[Any, Any, Finding]]


@dataclass(frozen=True, slots=True)
class Lane:
    """What is tried.

    Attributes:
        spec: The guest; None takes the demo guest.
        banner: What its serial port says once it is up.
        client: Who looks at it, of `smoke_seats.SEATS`.
        budget: Seconds for all steps of that viewer.
        boot_seconds: How long the banner may take.
    """

    spec: MachineSpec | None = None
    banner: str = BANNER.decode().strip()
    client: str = "ours"
    budget: float = 30.0
    boot_seconds: float = 45.0


class Spine:
    """What the steps share. Each stands on the one before.

    Args:
        stack: Closes the service when the walk is over.
        kept: Where artefacts go.
    """

    def __init__(
        self,
        open_service: Callable[[], AbstractAsyncContextManager[Service]],
        stack: AsyncExitStack,
        kept: Path,
        lane: Lane | None = None,
    ) -> None:
        self._lane = lane or Lane()
        self._open_service = open_service
        self._stack = stack
        self._kept = kept
        self._host = ThisHost()
        self._service: Service | None = None
        self._machine: Machine | None = None
        self._seat: Seat | None = None
        self._before: Picture | None = None
        self._deadline = 0.0
        self._file = vv.VvFile()
        self._id = SessionId("")
        self._hosting = False

    def steps(self) -> tuple[Check, ...]:
        """From nothing to an answered key press, and to the end of the session."""
        return (
            Check("QEMU", self._host.qemu),
            Check("SPICE", self._host.spice),
            Check("KVM", self._host.kvm),
            Check("service", self._opened),
            Check("guest", self._started),
            Check("banner", self._greeted),
            Check("proxy", self._hosted),
            Check("export", self._exported),
            Check("connect", lambda: self._in_time(self._connected)),
            Check("picture", lambda: self._in_time(self._pictured)),
            Check("key", lambda: self._in_time(self._answered)),
            Check("screen", lambda: self._in_time(self._redrawn)),
            Check("session", self._listed),
            Check("one use", self._not_again),
            Check("disconnect", self._disconnected),
            Check("alive", self._survived),
        )

    def last_steps(self) -> tuple[Check, ...]:
        """Taken also when a step broke: what was started is ended, and seen to be gone."""
        steps = []
        if self._hosting:
            steps.append(Check("proxy ends", self._left))
        if self._machine is not None:
            steps.append(Check("guest ends", self._stopped))
        return tuple(steps)

    async def clear_up(self) -> None:
        """End by force what a broken step left behind; keep the logs first."""
        self._keep_logs()
        if self._service is None:
            return
        with suppress(BrokerError):
            await self._service.leave_proxy(keep_sessions=False)
        if self._machine is not None:
            with suppress(BrokerError):
                await self._service.kill(self._machine.key)

    # -- the steps

    @property
    def _asked(self) -> Service:
        assert self._service is not None
        return self._service

    @property
    def _guest(self) -> Machine:
        assert self._machine is not None
        return self._machine

    @property
    def _viewer(self) -> Seat:
        assert self._seat is not None
        return self._seat

    async def _in_time(self, look: Look) -> Finding:
        """A step of the viewer's; all of them share the budget, which begins with the first."""
        now = asyncio.get_running_loop().time()
        self._deadline = self._deadline or now + self._lane.budget
        try:
            async with asyncio.timeout_at(self._deadline):
                return await look()
        except TimeoutError as exc:
            raise Unreachable(
                f"{self._lane.client}: the viewer's steps took more than {self._lane.budget:g} s",
                fix="Give it more with --budget TIME, or see viewer.log",
            ) from exc

    async def _opened(self) -> Finding:
        self._service = await self._stack.enter_async_context(self._open_service())
        return fine("a broker of its own, with an empty database")

    async def _started(self) -> Finding:
        self._machine = await self._asked.define(self._lane.spec or demo_spec())
        self._machine = await self._asked.start(self._machine.key)
        return fine(f"{self._machine.name} is process {self._machine.pid}")

    async def _greeted(self) -> Finding:
        try:
            async with within(self._lane.boot_seconds):
                await self._serial_says(self._lane.banner)
        except TimeoutError:
            return broken(
                f"its serial port did not say {self._lane.banner!r} within "
                f"{self._lane.boot_seconds:g} seconds",
                f"See serial.log in {self._kept}; --boot-timeout TIME gives it longer",
            )
        return fine(f"{self._lane.banner!r} on its serial port")

    async def _hosted(self) -> Finding:
        self._hosting = True
        try:
            status = await self._asked.host_proxy()
        except BrokerError as exc:  # the log it names is gone with this home, but for our copy
            return broken(exc.what, f"See proxy.log in {self._kept}")
        if not status.workers:
            return broken("it serves without a relay worker", f"See proxy.log in {self._kept}")
        return fine(f"{status.host}:{status.tls_port}, relay worker is process {status.workers[0]}")

    async def _exported(self) -> Finding:
        """As a person does: by the command, in a process of its own."""
        await self._exported_by_command(self._path)
        self._file = read_file(str(self._path))
        text = self._path.read_text()
        self._keep("console.vv", text.replace(self._file.password or "no password", SECRET))
        if not (self._file.password and self._file.ca and self._file.host_subject):
            return broken("the file lacks what a viewer needs", f"See console.vv in {self._kept}")
        if self._file.port is not None:
            return broken("the file names a port without TLS", f"See console.vv in {self._kept}")
        return fine(f"a .vv file for {self._file.host}:{self._file.tls_port}")

    @property
    def _path(self) -> Path:
        return Locations.from_env().state_dir / "smoke.vv"

    async def _exported_by_command(self, path: Path) -> None:
        words = ("export-vv", self._guest.key.uuid, "--to", LABEL, "-o", str(path))
        command = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", "from broker.cli.main import entry; entry()", *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            said, _ = await command.communicate()
        finally:
            if command.returncode is None:
                command.kill()
                await command.wait()
        self._keep("export-vv.log", said.decode(errors="replace"))
        if command.returncode:
            last = said.decode(errors="replace").strip().splitlines() or ["nothing"]
            raise BrokerError(f"broker export-vv ended with {command.returncode}: {last[-1]}")

    async def _connected(self) -> Finding:
        again = self._path.with_name("viewer.vv")  # which its viewer may take away
        await asyncio.to_thread(shutil.copyfile, self._path, again)
        again.chmod(0o600)
        self._seat = seat(self._lane.client, again, self._kept, self._stack)
        return fine(f"{self._lane.client}: {await self._seat.connected()}")

    async def _pictured(self) -> Finding:
        if self._lane.client == "remote-viewer":  # its window is there before its screen is
            await self._has_channels()
        self._before = await self._viewer.picture()
        width, height, _ = self._before
        return fine(f"a screen of {width}x{height}, and something is on it")

    async def _has_channels(self) -> None:
        while not any(  # noqa: ASYNC110 - another process writes it
            len(one.channels) >= 3 for one in await self._asked.sessions()
        ):
            await asyncio.sleep(LOOK_SECONDS)

    async def _answered(self) -> Finding:
        await self._viewer.press()
        if self._lane.spec is not None:
            return fine("pressed; what the guest makes of it is seen next")
        answer = ANSWERS[1].decode()
        await self._serial_says(answer)
        return fine(f"{answer.strip()!r} on its serial port")

    async def _redrawn(self) -> Finding:
        width, height, rgb = await self._viewer.picture(other_than=self._before)
        keep_bytes(self._kept / "screen.png", encode_png(rgb, width, height))
        if undrawn := self._viewer.missing():
            return broken(f"the picture is not whole: {', '.join(undrawn)}", "Report this")
        return fine(f"the key shows on the screen: screen.png in {self._kept}")

    async def _listed(self) -> Finding:
        wanted = {"main", "inputs"}
        live = []
        for _ in range(100):
            live = [one for one in await self._asked.sessions() if one.key == self._guest.key]
            if live and wanted <= {channel.name.split(".")[0] for channel in live[0].channels}:
                self._id = live[0].id
                self._keep("session.json", json.dumps(jsonable.session(live[0]), indent=2))
                names = ", ".join(channel.name for channel in live[0].channels)
                return fine(f"{self._id} with {names}")
            await asyncio.sleep(LOOK_SECONDS * 2)
        return broken(
            f"it is not listed as it should be: {[jsonable.session(one) for one in live]}",
            f"See proxy.log in {self._kept}",
        )

    async def _not_again(self) -> Finding:
        with suppress(Refused, Unreachable):
            async with self._viewing():
                return broken("the same file opened a second session", "A token opens one")
        return fine("the same file opens no second session")

    async def _disconnected(self) -> Finding:
        await self._asked.disconnect(self._id)
        for _ in range(100):
            if not [one for one in await self._asked.sessions() if one.id == self._id]:
                return fine("all channels closed, and it is no longer listed")
            await asyncio.sleep(LOOK_SECONDS * 2)
        return broken("it is still listed", f"See proxy.log in {self._kept}")

    async def _survived(self) -> Finding:
        machine = (await self._asked.find(self._guest.key.uuid)).machine
        if machine.state is not State.RUNNING:
            return broken(f"the guest is {machine.state.value}", f"See qemu.log in {self._kept}")
        return fine("the guest runs on")

    async def _left(self) -> Finding:
        await self._asked.leave_proxy(keep_sessions=False)
        if (await self._asked.proxy_status()).serving:
            return broken("it still serves", f"See proxy.log in {self._kept}")
        return fine("it has gone")

    async def _stopped(self) -> Finding:
        self._keep_logs()
        machine = await self._asked.kill(self._guest.key)
        await self._asked.delete(machine.key)
        return fine("it has gone")

    # -- looking and keeping

    def _viewing(self) -> AbstractAsyncContextManager[Session]:
        """A session, as a person's viewer has it from the .vv file."""
        return opened(dialer(target_of(self._file)), self._file.password)

    async def _serial_says(self, text: str) -> None:
        """Wait until the guest has written that; the step's time ends it."""
        key = self._guest.key
        now = asyncio.get_running_loop().time
        looked = now()
        while text not in await self._asked.machine_log(key, serial=True):
            await asyncio.sleep(LOOK_SECONDS)
            if now() - looked > 1:
                looked = now()
                machine = (await self._asked.find(key.uuid)).machine
                if machine.state is not State.RUNNING:
                    raise Unreachable(
                        f"the guest is {machine.state.value}, and never said {text.strip()!r}",
                        fix=f"See serial.log in {self._kept}",
                    )

    def _paths(self) -> VmPaths:
        where, guest = Locations.from_env(), self._guest
        return VmPaths.of(where.runtime_dir, where.data_dir, guest.name, guest.key.uuid)

    def _keep_logs(self) -> None:
        logs = {"proxy.log": Locations.from_env().logs_dir / "proxy.log"}
        if self._machine is not None:
            paths = self._paths()
            logs |= {"qemu.log": paths.qemu_log, "serial.log": paths.serial_log}
        for name, file in logs.items():
            with suppress(OSError):
                shutil.copyfile(file, self._kept / name)

    def _keep(self, name: str, text: str) -> None:
        keep(self._kept / name, text)


def keep(file: Path, text: str) -> None:
    """Write an artefact; raises as `keep_bytes`."""
    keep_bytes(file, text.encode())


def keep_bytes(file: Path, content: bytes) -> None:
    """Write an artefact.

    Raises:
        BrokerError: It cannot be written.
    """
    try:
        file.write_bytes(content)
    except OSError as exc:
        raise BrokerError(
            f"{file} cannot be written ({exc.strerror})", fix="Name another place: --keep DIR"
        ) from exc
