"""A fake oVirt engine: numbers as text, sessions that end, and tickets that supersede."""

from __future__ import annotations

import secrets
from typing import ClassVar

from tests.fakes.http import Answer, Request
from tests.fakes.lab import Lab
from tests.fakes.source import FakeGuest, FakeSource

USER = "broker@internal"
SPICE = "7370696365"
DEFAULT_SECONDS = 7200
IDS = [f"7b1f0000-1111-4222-8333-00000000000{number}" for number in range(4)]
GROUPS = {
    "start": "RUN_VM", "stop": "STOP_VM", "shutdown": "SHUT_DOWN_VM",
    "reboot": "REBOOT_VM", "reset": "RESET_VM",
}  # fmt: skip
LIVE = ("up", "powering_up", "paused", "powering_down", "reboot_in_progress")


class FakeOvirt(FakeSource):
    """An engine with a host.

    Attributes:
        old: It is older than 4.4.7, and does not know `detail`.
        asked_expiry: What tickets were asked for with, in order.
        busy: How often a ticket is refused because another user is there.
    """

    type: ClassVar[str] = "ovirt"
    list_part: ClassVar[str] = "/api/vms"
    screen_part: ClassVar[str] = "/ticket"
    power_right: ClassVar[str] = "STOP_VM"

    def __init__(self, lab: Lab) -> None:
        super().__init__(
            lab,
            [
                FakeGuest(IDS[0], "desk1"),
                FakeGuest(IDS[1], "desk2", state="stopped"),
                FakeGuest(IDS[2], "el9", spice=False),
            ],
        )
        self.old = False
        self.busy = 0
        self.asked_expiry: list[str | None] = []
        self.filtered: list[bool] = []
        self._tokens: set[str] = set()

    def options(self) -> dict[str, object]:
        return {
            "url": f"{self.server.url}/ovirt-engine",
            "username": USER,
            "password": self.password,
            "ca_cert": self.lab.ca_pem,
        }

    def expire_tokens(self) -> None:
        self._tokens.clear()

    async def answer(self, request: Request) -> Answer:
        assert request.parts[0] == "ovirt-engine"
        rest = list(request.parts[1:])
        match rest:
            case ["sso", "oauth", "token"]:
                return await self._log_in(request)
            case ["services", "sso-logout"]:
                self._tokens.discard(request.form["token"])
                return Answer(200, {})
            case ["api", *path]:
                bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
                if bearer not in self._tokens:
                    return await self.no(Answer(401, b"<html>unauthorized</html>"))
                assert request.headers["version"] == "4"
                self.filtered.append(request.headers.get("filter") == "true")
                return await self._api(request, path)
        return Answer(404, b"<html>not found</html>", headers={"Content-Type": "text/html"})

    async def _log_in(self, request: Request) -> Answer:
        self.logins += 1
        assert request.headers["accept"] == "application/json"
        form = request.form
        assert (form["grant_type"], form["scope"]) == ("password", "ovirt-app-api")
        if (form["username"], form["password"]) != (USER, self.password):
            told = "Cannot authenticate user: The username or password is incorrect."
            return await self.no(Answer(400, {"error": "access_denied", "error_description": told}))
        token = secrets.token_urlsafe(48)
        self._tokens.add(token)
        self.given.append(token)
        return Answer(
            200,
            {"access_token": token, "scope": form["scope"], "exp": "9223372036854775807",
             "token_type": "bearer"},
        )  # fmt: skip

    async def _api(self, request: Request, path: list[str]) -> Answer:
        detail = request.query.get("detail") == "current_graphics_consoles" and not self.old
        match path:
            case ["vms"]:
                rows = [self._row(guest, detail) for guest in self.listed()]
                return Answer(200, {"vm": rows} if rows else {})
            case ["vms", uuid, *_] if uuid not in self.guests:
                return _fault(404, "Entity not found", "Operation Failed")
            case ["vms", uuid]:
                return Answer(200, self._row(self.guests[uuid], detail))
            case ["vms", uuid, "graphicsconsoles"]:
                assert request.query == {"current": "true"}
                found = self._consoles(self.guests[uuid])
                return Answer(200, {"graphics_console": found} if found else {})
            case ["vms", uuid, "graphicsconsoles", console, "ticket"]:
                return await self._ticket(request, self.guests[uuid], console)
            case ["vms", uuid, verb] if verb in GROUPS:
                return self._switch(self.guests[uuid], verb)
        return Answer(404, b"<html>not found</html>", headers={"Content-Type": "text/html"})

    def _status(self, guest: FakeGuest) -> str:
        return {"running": "up", "stopped": "down"}.get(guest.state, guest.state)

    def _consoles(self, guest: FakeGuest) -> list[dict[str, object]]:
        if self._status(guest) not in LIVE:
            return []
        vnc: dict[str, object] = {
            "id": "766e63",
            "protocol": "vnc",
            "address": "127.0.0.1",
            "port": "5902",
        }
        spice: dict[str, object] = {
            "id": SPICE,
            "protocol": "spice",
            "address": "127.0.0.1",
            "port": str(self.lab.port),
            "tls_port": str(self.lab.tls_port),
        }
        return [spice, vnc] if guest.spice else [vnc]

    def _row(self, guest: FakeGuest, detail: bool) -> dict[str, object]:
        status = self._status(guest)
        display: dict[str, object] = {
            "type": "spice" if guest.spice else "vnc",
            "smartcard_enabled": "false",
            "monitors": "1",
        }
        row: dict[str, object] = {
            "id": guest.id,
            "href": f"/ovirt-engine/api/vms/{guest.id}",
            "name": guest.name,
            "status": status,
            "memory": 2147483648,
            "stateless": "false",
            "display": display,
        }
        if status in LIVE:
            row["host"] = {"id": "c0ff", "href": "/ovirt-engine/api/hosts/c0ff"}
            display["certificate"] = {
                "subject": self.wrong_subject or self.lab.subject,
                "content": self.wrong_ca or self.lab.ca_pem,
                "organization": "Lab, Inc.",
            }
            if detail:
                row["graphics_consoles"] = {"graphics_console": self._consoles(guest)}
        return row

    async def _ticket(self, request: Request, guest: FakeGuest, console: str) -> Answer:
        if "CONNECT_TO_VM" in self.may_not:
            return _fault(403, "User is not authorized to perform this action.")
        if self._status(guest) not in LIVE:
            return _fault(409, "Cannot set VM ticket. VM is not running.")
        if self.busy:
            self.busy -= 1
            return _fault(409, "Cannot set VM ticket. Console is in use by another user.")
        assert console == SPICE
        wanted = request.json().get("ticket", {}).get("expiry")
        self.asked_expiry.append(wanted)
        seconds = int(wanted or DEFAULT_SECONDS)
        value = secrets.token_urlsafe(6)
        await self.lab.set_password(value, seconds=seconds)
        self.given.append(value)
        return Answer(
            200,
            {
                "status": "complete",
                "ticket": {"value": value, "expiry": str(seconds)},
                "vm": {"id": guest.id},
            },
        )

    def _switch(self, guest: FakeGuest, verb: str) -> Answer:
        if GROUPS[verb] in self.may_not:
            return _fault(403, "User is not authorized to perform this action.")
        if verb == "start" and guest.state == "running":
            return _fault(409, "Cannot run VM. VM is running.")
        if verb != "start" and guest.state == "stopped":
            return _fault(409, f"Cannot {verb} VM. VM is not running.")
        self.switched.append((guest.id, verb))
        guest.state = {"start": "running", "stop": "stopped", "shutdown": "stopped"}.get(
            verb, guest.state
        )
        return Answer(200, {"status": "complete"})


def _fault(status: int, detail: str, reason: str = "Operation Failed") -> Answer:
    return Answer(status, {"reason": reason, "detail": f"[{detail}]"})
