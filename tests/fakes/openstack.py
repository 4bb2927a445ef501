"""A fake cloud: Keystone and a Nova that negotiates, pages, and tells where consoles are."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from tests.fakes.http import Answer, Request
from tests.fakes.lab import Lab
from tests.fakes.source import FakeGuest, FakeSource

USER = "broker"
CREDENTIAL = "c0ffee0000004222833300000000c0de"
IDS = [f"ee543c79-1111-4222-8333-00000000000{number}" for number in range(4)]
READ_TOKENS = "os_compute_api:os-console-auth-tokens"
STATES = {"running": "ACTIVE", "stopped": "SHUTOFF"}
ACTIONS = {"os-start": "running", "os-stop": "stopped", "pause": "PAUSED", "unpause": "running"}
PATH = "/compute/v2.1/969b"


class FakeOpenstack(FakeSource):
    """A region.

    Attributes:
        version: The highest minor version of Nova's API.
        page: The most servers that it gives at once.
        address: What Nova thinks its compute nodes' address is.
        admin: Whether the account is an administrator.
        allowed: Paths behind Nova's address that an application credential is good for.
    """

    type: ClassVar[str] = "openstack"
    list_part: ClassVar[str] = "/servers/detail"
    screen_part: ClassVar[str] = "/remote-consoles"
    power_right: ClassVar[str] = "os-stop"

    def __init__(self, lab: Lab) -> None:
        super().__init__(
            lab,
            [
                FakeGuest(IDS[0], "desk1"),
                FakeGuest(IDS[1], "desk2", state="stopped"),
                FakeGuest(IDS[2], "vnc-only", spice=False),
            ],
        )
        self.version = 104
        self.page = 1000
        self.address = "127.0.0.1"
        self.admin = True
        self.allowed: tuple[str, ...] | None = None
        self.token_life = timedelta(hours=1)
        self.consoles: dict[str, tuple[str, int]] = {}
        self.port_of: dict[str, int] = {}
        self._tokens: set[str] = set()

    def options(self) -> dict[str, object]:
        return {
            "url": f"{self.server.url}/identity/v3",
            "username": USER,
            "password": self.password,
            "project": "service",
            "ca_cert": self.lab.ca_pem,
            "dial_networks": "127.0.0.0/8",
            **self.pins(),
        }

    def options_with_credential(self) -> dict[str, object]:
        return {
            "username": ...,
            "password": ...,
            "application_credential_id": CREDENTIAL,
            "application_credential_secret": self.password,
        }

    def pins(self) -> dict[str, object]:
        template = self.lab.subject.replace("pve1.lab.example", "{hypervisor}")
        return {
            "spice_ca_cert": self.wrong_ca or self.lab.ca_pem,
            "host_subject": self.wrong_subject or template,
        }

    def expire_tokens(self) -> None:
        self._tokens.clear()

    async def answer(self, request: Request) -> Answer:
        match list(request.parts):
            case ["identity", "v3", "auth", "tokens"]:
                return await self._log_in(request)
            case ["identity", *_]:
                return Answer(300, {"versions": {"values": []}})
            case ["compute", ""] | ["compute"]:
                told = {"id": "v2.1", "status": "CURRENT", "min_version": "2.1"}
                return Answer(200, {"versions": [{**told, "version": f"2.{self.version}"}]})
            case ["compute", "v2.1", "969b", *rest]:
                return await self._nova(request, rest)
        return Answer(404, b"<html></html>", headers={"Content-Type": "text/html"})

    # -- Keystone

    async def _log_in(self, request: Request) -> Answer:
        self.logins += 1
        auth = request.json()["auth"]
        (method,) = auth["identity"]["methods"]
        shown = auth["identity"][method]
        if method == "application_credential":
            good = shown == {"id": CREDENTIAL, "secret": self.password} and "scope" not in auth
        else:
            domain = {"name": "Default"}
            good = shown["user"] == {"name": USER, "domain": domain, "password": self.password}
            assert auth["scope"] == {"project": {"name": "service", "domain": domain}}
        if not good:
            told = "The request you have made requires authentication."
            error = {"code": 401, "message": told, "title": "Unauthorized"}
            return await self.no(Answer(401, {"error": error}))
        token = f"gAAAA{secrets.token_urlsafe(128)}"
        self._tokens.add(token)
        self.given.append(token)
        ends = (datetime.now(UTC) + self.token_life).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
        other = {"interface": "internal", "region": "RegionOne", "url": "http://10.0.0.1:8774/v2.1"}
        nova = {"interface": "public", "region": "RegionOne", "url": self.server.url + PATH}
        catalog = [
            {"type": "image", "name": "glance", "endpoints": []},
            {"type": "compute", "name": "nova", "endpoints": [other, nova]},
        ]
        roles = [{"id": "1", "name": "admin" if self.admin else "member"}]
        told_token = {"expires_at": ends, "roles": roles, "catalog": catalog, "methods": [method]}
        return Answer(201, {"token": told_token}, headers={"X-Subject-Token": token})

    # -- Nova

    async def _nova(self, request: Request, rest: list[str]) -> Answer:
        path = request.path.removeprefix(PATH)
        allowed = self.allowed is None or any(path.startswith(one) for one in self.allowed)
        if request.headers.get("x-auth-token") not in self._tokens or not allowed:
            return await self.no(Answer(401, {"error": {"code": 401, "message": "unauthorized"}}))
        word, _, text = request.headers["openstack-api-version"].partition(" ")
        minor = int(text.partition(".")[2])
        assert word == "compute"
        if minor > self.version:
            return _error("computeFault", 406, f"Version {text} is not supported by the API.")
        match rest:
            case ["servers", "detail"]:
                return self._list(request)
            case ["os-console-auth-tokens", token]:
                return self._where(request, token, minor)
            case ["servers", uuid, *_] if uuid not in self.guests:
                return _error("itemNotFound", 404, f"Instance {uuid} could not be found.")
            case ["servers", uuid]:
                return Answer(200, {"server": self._row(self.guests[uuid])})
            case ["servers", uuid, "remote-consoles"]:
                return self._console(request, self.guests[uuid], minor)
            case ["servers", uuid, "action"]:
                return self._action(request, self.guests[uuid])
        return _error("itemNotFound", 404, "The resource could not be found.")

    def _list(self, request: Request) -> Answer:
        query = request.query
        assert set(query) <= {"limit", "marker", "all_tenants"}
        if "all_tenants" in query and not self.admin:
            rule = "os_compute_api:servers:detail:get_all_tenants"
            return _error("forbidden", 403, f"Policy doesn't allow {rule} to be performed.")
        guests = self.listed()
        ids = [guest.id for guest in guests]
        begin = ids.index(query["marker"]) + 1 if "marker" in query else 0
        shown = guests[begin : begin + min(self.page, int(query["limit"]))]
        told: dict[str, Any] = {"servers": [self._row(guest) for guest in shown]}
        if begin + len(shown) < len(guests):
            # An address of the inside, where our token has nothing to do.
            href = f"http://10.0.0.1:8774/v2.1/servers/detail?marker={shown[-1].id}"
            told["servers_links"] = [{"rel": "next", "href": href}]
        return Answer(200, told)

    def _row(self, guest: FakeGuest) -> dict[str, object]:
        row: dict[str, object] = {
            "id": guest.id,
            "name": guest.name,
            "status": STATES.get(guest.state, guest.state),
            "tenant_id": "969b",
            "hostId": "9c36",
            "OS-EXT-STS:power_state": 1,
            "OS-EXT-STS:task_state": guest.more.get("task"),
        }
        node = {"OS-EXT-SRV-ATTR:host": "pve1.lab.example", "host_status": "UP"}
        return row | (node if self.admin else {})

    def _console(self, request: Request, guest: FakeGuest, minor: int) -> Answer:
        if minor < 99:
            return _error("badRequest", 400, "Invalid input for field/attribute type.")
        assert request.json() == {"remote_console": {"protocol": "spice", "type": "spice-direct"}}
        if guest.state == "BUILD":
            return _error("conflictingRequest", 409, "Instance not ready.")
        if not guest.spice or guest.state == "stopped":
            return _error("badRequest", 400, "Unavailable console type spice.")
        token = secrets.token_hex(16)
        self.given.append(token)
        self.consoles[token] = (guest.id, self.port_of.get(guest.id, self.lab.tls_port))
        url = f"https://kerbside.lab.example/nova?token={token}"
        return Answer(200, {"remote_console": {**request.json()["remote_console"], "url": url}})

    def _where(self, request: Request, token: str, minor: int) -> Answer:
        if request.query:
            return _error("badRequest", 400, "Additional properties are not allowed")
        if not self.admin or READ_TOKENS in self.may_not:
            return _error("forbidden", 403, f"Policy doesn't allow {READ_TOKENS} to be performed.")
        if token not in self.consoles:
            return _error("itemNotFound", 404, "Token not found")
        uuid, port = self.consoles[token]
        console = {
            "instance_uuid": uuid,
            "host": self.address,
            "port": self.lab.port,
            "internal_access_path": None,
        }
        return Answer(200, {"console": console | ({"tls_port": port} if minor >= 99 else {})})

    def _action(self, request: Request, guest: FakeGuest) -> Answer:
        ((action, how),) = request.json().items()
        if action in self.may_not:
            return _error("forbidden", 403, f"Policy doesn't allow {action} to be performed.")
        after = ACTIONS.get(action, guest.state)
        if after == guest.state and action != "reboot":
            told = f"Cannot '{action}' instance {guest.id} while it is in vm_state {guest.state}"
            return _error("conflictingRequest", 409, told)
        self.switched.append((guest.id, f"{action} {how['type']}" if how else action))
        guest.state = after
        return Answer(202)


def _error(kind: str, status: int, message: str) -> Answer:
    return Answer(status, {kind: {"code": status, "message": message}})
