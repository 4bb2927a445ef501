"""A fake Proxmox VE cluster: its HTTP server's manners, and the tunnel on its other port."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import secrets
import time
from collections.abc import AsyncIterator
from typing import ClassVar
from urllib.parse import unquote

from tests.fakes.http import Answer, Request
from tests.fakes.lab import Lab
from tests.fakes.source import FakeGuest, FakeSource
from tests.streams import ended, joined, serving

TOKEN_ID = "broker@pve!tui"
USER = "broker@pve"
TICKET_SECONDS, TUNNEL_SECONDS = 30, 40


class FakeProxmox(FakeSource):
    """Two nodes, `pve1` and `pve2`; either answers for both."""

    type: ClassVar[str] = "proxmox"
    list_part: ClassVar[str] = "/cluster/resources"
    screen_part: ClassVar[str] = "/spiceproxy"
    power_right: ClassVar[str] = "VM.PowerMgmt"

    def __init__(self, lab: Lab) -> None:
        super().__init__(
            lab,
            [
                FakeGuest("100", "desk1", more={"pool": "desktops", "tags": "win;vdi"}),
                FakeGuest("101", "desk2", state="stopped"),
                FakeGuest("102", "router", spice=False),
                FakeGuest("103", "golden", state="stopped", more={"template": 1}),
                FakeGuest("104", "ct", more={"type": "lxc"}),
            ],
        )
        self.nodes = {"104": "pve2"}
        self.away: set[str] = set()
        self.skew = 0.0
        self.connects: list[str] = []
        self.tasks: dict[str, tuple[str, int]] = {}
        self.task_ends = "OK"
        self.second_factor = False
        self._key = secrets.token_bytes(20)
        self._tickets: set[str] = set()
        self._tunnel = 0

    def another_id(self, number: int) -> str:
        return str(1000 + number)

    def options(self) -> dict[str, object]:
        return {
            "url": self.server.url,
            "token_id": TOKEN_ID,
            "token": self.password,
            "ca_cert": self.lab.ca_pem,
        }

    def options_with_password(self) -> dict[str, object]:
        return {
            "url": self.server.url,
            "username": USER,
            "password": self.password,
            "ca_cert": self.lab.ca_pem,
        }

    def expire_tokens(self) -> None:
        self._tickets.clear()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with super().running(), serving(self._serve_tunnel) as self._tunnel:
            yield

    # -- port 8006

    async def answer(self, request: Request) -> Answer:
        _, form, *rest = request.parts
        assert form == "json"
        if rest == ["access", "ticket"]:
            return await self._log_in(request)
        if (no := self._refusal(request)) is not None:
            return await self.no(Answer(401, b"", no))
        match rest:
            case ["version"]:
                return _data({"version": "9.2.1", "release": "9.2"})
            case ["access", "permissions"]:
                held = {"VM.Audit", "VM.Console", "VM.PowerMgmt"} - self.may_not
                return _data({"/vms": dict.fromkeys(sorted(held), 1)})
            case ["cluster", "resources"]:
                assert request.query == {"type": "vm"}
                shown = [] if "VM.Audit" in self.may_not else self.listed()
                return _data([self._row(guest) for guest in shown])
            case ["nodes", node, "tasks", task, "status"]:
                return self._task(task)
            case ["nodes", node, kind, vmid, *verb]:
                return await self._guest(request, node, kind, vmid, "/".join(verb))
        return Answer(
            501, {"data": None}, f"Method '{request.method} {request.path}' not implemented"
        )

    async def _log_in(self, request: Request) -> Answer:
        self.logins += 1
        form = request.form
        if form != {"username": USER, "password": self.password}:
            return await self.no(_failed(401, "authentication failure"))
        ticket = f"PVE:{USER}:{secrets.token_hex(4).upper()}::{secrets.token_urlsafe(24)}=="
        self._tickets.add(ticket)
        told: dict[str, object] = {
            "username": USER,
            "ticket": ticket,
            "CSRFPreventionToken": "6B:csrf",
        }
        return _data(told | ({"NeedTFA": 1} if self.second_factor else {}))

    def _refusal(self, request: Request) -> str | None:
        if (shown := request.headers.get("authorization")) is not None:
            good = f"PVEAPIToken={TOKEN_ID}={self.password}"
            return None if shown == good else "Authentication failed!"
        cookie = request.headers.get("cookie", "")
        if not cookie.startswith("PVEAuthCookie="):
            return "No ticket"
        if unquote(cookie.removeprefix("PVEAuthCookie=")) not in self._tickets:
            return "permission denied - invalid PVE ticket"
        if request.method != "GET" and request.headers.get("csrfpreventiontoken") != "6B:csrf":
            return "Permission denied - invalid csrf token"
        return None

    def _node(self, vmid: str) -> str:
        return self.nodes.get(vmid, "pve1")

    def _row(self, guest: FakeGuest) -> dict[str, object]:
        kind = guest.more.get("type", "qemu")
        return {
            "id": f"{kind}/{guest.id}",
            "type": kind,
            "vmid": int(guest.id),
            "name": guest.name,
            "node": self._node(guest.id),
            "status": guest.state,
            "template": 0,
            "maxmem": 8589934592,
            **guest.more,
        }

    async def _guest(self, request: Request, node: str, kind: str, vmid: str, verb: str) -> Answer:
        if node in self.away:
            return Answer(595, b"", "No route to host")
        guest = self.guests.get(vmid)
        if guest is None or self._node(vmid) != node or guest.more.get("type", "qemu") != kind:
            return _failed(
                500, f"Configuration file 'nodes/{node}/qemu-server/{vmid}.conf' does not exist"
            )
        right = {"status/current": "VM.Audit", "spiceproxy": "VM.Console"}.get(verb, "VM.PowerMgmt")
        if right in self.may_not:
            return _failed(403, f"Permission check failed (/vms/{vmid}, {right})")
        match verb:
            case "status/current":
                told: dict[str, object] = {"status": guest.state, "qmpstatus": guest.state}
                told |= {"name": guest.name, "vmid": int(vmid)}
                return _data(told | ({"spice": 1} if guest.spice and kind == "qemu" else {}))
            case "spiceproxy":
                return await self._spice(request, guest, node)
        return self._switch(guest, node, verb.removeprefix("status/"))

    async def _spice(self, request: Request, guest: FakeGuest, node: str) -> Answer:
        if guest.state != "running":
            return _failed(500, f"VM {guest.id} not running")
        if not guest.spice:
            return _failed(500, "no spice port")
        if lock := guest.more.get("lock"):
            return _failed(500, f"VM is locked ({lock})")
        password = secrets.token_hex(20)
        await self.lab.set_password(password, seconds=TICKET_SECONDS)
        self.given.append(password)
        port = self.lab.tls_port
        host = self._signed(f"{int(time.time() + self.skew):08x}:{guest.id}:{node}:{port}")
        proxy = request.form.get("proxy", "pve1.lab.invalid")
        return _data(
            {
                "type": "spice",
                "title": f"VM {guest.id} - {guest.name}",
                "proxy": f"http://{proxy}:{self._tunnel}",
                "host": host,
                "tls-port": port,
                "password": password,
                "host-subject": self.wrong_subject or self.lab.subject,
                "ca": (self.wrong_ca or self.lab.ca_pem).replace("\n", "\\n"),
                "delete-this-file": 1,
            }
        )

    def _switch(self, guest: FakeGuest, node: str, verb: str) -> Answer:
        if verb == "start" and guest.state == "running":
            return _failed(500, f"VM {guest.id} already running")
        if verb != "start" and guest.state != "running":
            return _failed(500, f"VM {guest.id} not running")
        self.switched.append((guest.id, verb))
        if self.task_ends == "OK":
            guest.state = {"start": "running", "stop": "stopped", "shutdown": "stopped"}.get(
                verb, guest.state
            )
        task = f"UPID:{node}:0000ABCD:00000012:6B00C51D:qm{verb}:{guest.id}:{TOKEN_ID}:"
        self.tasks[task] = (self.task_ends, 1)
        return _data(task)

    def _task(self, task: str) -> Answer:
        ends, looks = self.tasks[task]
        if looks:
            self.tasks[task] = (ends, looks - 1)
            return _data({"upid": task, "status": "running"})
        return _data({"upid": task, "status": "stopped", "exitstatus": ends})

    # -- port 3128

    def _signed(self, text: str) -> str:
        digest = hmac.new(self._key, text.encode(), hashlib.sha1).hexdigest()
        return f"pvespiceproxy:{text}::{digest}"

    async def _serve_tunnel(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.connects.append(head[0])
        version = head[0].rpartition(" ")[2]
        fields = (line.partition(":") for line in head[1:])
        host = next((value.strip() for name, _, value in fields if name.lower() == "host"), "")
        if not self._is_good(host):
            writer.write(f"{version} 401 invalid ticket\r\n\r\ninvalid ticket".encode())
            await writer.drain()
            writer.close()
            return
        there = await asyncio.open_connection("127.0.0.1", self.lab.tls_port)
        async with ended(there[1]):
            writer.write(f"{version} 200 OK\r\n\r\n".encode())
            await joined((reader, writer), there)

    def _is_good(self, host: str) -> bool:
        name, _, port = host.rpartition(":")
        parts = name.split(":")
        if len(parts) != 7 or name != self._signed(":".join(parts[1:5])) or port != parts[4]:
            return False
        age = time.time() + self.skew - int(parts[1], 16)
        return -20 <= age < TUNNEL_SECONDS


def _data(found: object) -> Answer:
    return Answer(200, {"data": found}, "OK")


def _failed(status: int, words: str) -> Answer:
    return Answer(status, {"data": None, "message": f"{words}\n"}, words)
