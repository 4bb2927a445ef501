"""A fake Shaken Fist cluster: bare lists, quarter-hour tokens, HTML for what it does not know."""

from __future__ import annotations

import secrets
import time
from typing import ClassVar

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.fakes.http import Answer, Request
from tests.fakes.lab import Lab
from tests.fakes.source import FakeGuest, FakeSource

IDS = [f"b917a475-1111-4222-8333-00000000000{number}" for number in range(4)]
AUDIENCE = "https://broker.lab.example"
NODE_UUID = "0d3e0000-1111-4222-8333-000000000009"
POWERS = {"running": "on", "stopped": "off"}
VERBS = {
    "poweron": "running", "poweroff": "stopped", "pause": "paused", "unpause": "running",
    "rebootsoft": "", "reboothard": "",
}  # fmt: skip


class FakeShakenfist(FakeSource):
    """A cluster of one node.

    Attributes:
        new: It is newer than 0.7: instances name nodes by uuid, nodes tell their certificates.
        has_ca: It has a CA for SPICE.
        namespace: Whose key is good.
        node_words: What instances call their node; as `new` has it when empty.
    """

    type: ClassVar[str] = "shakenfist"
    list_part: ClassVar[str] = "/instances"
    screen_part: ClassVar[str] = f"/instances/{IDS[0]}"
    power_right: ClassVar[str] = "poweroff"

    def __init__(self, lab: Lab) -> None:
        super().__init__(
            lab,
            [
                FakeGuest(IDS[0], "desk1"),
                FakeGuest(IDS[1], "desk2", state="stopped"),
                FakeGuest(IDS[2], "vnc-only", spice=False),
            ],
        )
        self.new = True
        self.has_ca = True
        self.namespace = "system"
        self.node_words = ""
        self._tokens: set[str] = set()
        self.signing: dict[str, Ed25519PrivateKey] = {}
        """Private keys of console tokens by id; none until `signs` made one."""
        self.keys_told = 0

    def signs(self, kid: str) -> None:
        """Have a key for console tokens."""
        self.signing[kid] = Ed25519PrivateKey.generate()

    def console_token(self, kid: str, uuid: str, **claims: object) -> str:
        """As `vdiconsoleproxy` hands it to somebody who may see that instance."""
        now = int(time.time())
        said = {
            "iss": "lab",
            "aud": AUDIENCE,
            "sub": uuid,
            "sf:namespace": "system",
            "iat": now,
            "exp": now + 300,
            "jti": secrets.token_hex(16),
        }
        return jwt.encode(said | claims, self.signing[kid], "EdDSA", headers={"kid": kid})

    def _keys(self) -> Answer:
        self.keys_told += 1
        if not self.signing:
            return Answer(404, {"error": "no signing key", "status": 404})
        rows = [
            {
                "kid": kid,
                "alg": "EdDSA",
                "public_pem": key.public_key()
                .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
                .decode(),
                "created": 1789000000,
            }
            for kid, key in self.signing.items()
        ]
        return Answer(200, {"active_kid": rows[-1]["kid"], "keys": rows})

    def options(self) -> dict[str, object]:
        return {
            "url": f"{self.server.url}/api",
            "namespace": self.namespace,
            "key": self.password,
            "ca_cert": self.lab.ca_pem,
        }

    def expire_tokens(self) -> None:
        self._tokens.clear()

    async def answer(self, request: Request) -> Answer:
        api, *rest = request.parts
        assert api == "api"
        if rest in ([], [""]):
            page = b"<html><body>spice-vdi-console vdi-console-helper cluster-cacert</body></html>"
            return Answer(200, page, headers={"Content-Type": "text/html"})
        if rest == ["auth"]:
            return await self._log_in(request)
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self._tokens:
            return await self.no(Answer(401, {"error": "invalid token", "status": 401}))
        match rest:
            case ["instances"]:
                assert request.body == b""
                return Answer(200, [self._row(guest) for guest in self.listed()])
            case ["nodes"] if self.namespace == "system":
                return Answer(200, [self._node()])
            case ["nodes"]:
                return Answer(401, {"error": "unauthorized", "status": 401})
            case ["admin", "cacert"]:
                pem = (self.wrong_ca or self.lab.ca_pem) if self.has_ca else ""
                return Answer(200, pem.encode(), headers={"Content-Type": "text/plain"})
            case ["admin", "vditokenpubkey"]:
                return self._keys()
            case ["instances", uuid, *_] if uuid not in self.guests:
                return Answer(404, {"error": "instance not found", "status": 404})
            case ["instances", uuid]:
                return Answer(200, self._row(self.guests[uuid]))
            case ["instances", uuid, "vdiconsolehelper"]:
                return self._file(self.guests[uuid])
            case ["instances", uuid, verb] if verb in VERBS:
                return self._switch(self.guests[uuid], verb)
        return Answer(404, b"<html>not found</html>", headers={"Content-Type": "text/html"})

    async def _log_in(self, request: Request) -> Answer:
        self.logins += 1
        shown = request.json()
        if shown["namespace"] != self.namespace:
            return Answer(404, {"error": "namespace not found", "status": 404})
        if shown["key"] != self.password:
            return await self.no(Answer(401, {"error": "unauthorized", "status": 401}))
        token = f"eyJ{secrets.token_urlsafe(60)}"
        self._tokens.add(token)
        self.given.append(token)
        return Answer(200, {"access_token": token, "token_type": "Bearer", "expires_in": 900})

    def _node(self) -> dict[str, object]:
        row: dict[str, object] = {"name": "sf-1", "ip": "127.0.0.1", "state": "created"}
        if self.new:
            subject = self.wrong_subject or self.lab.subject
            row |= {"uuid": NODE_UUID, "fqdn": "sf-1.lab.example"}
            row |= {"spice_server_cert_subject": subject}
        return row

    def _row(self, guest: FakeGuest) -> dict[str, object]:
        row: dict[str, object] = {
            "uuid": guest.id,
            "name": guest.name,
            "namespace": "system",
            "state": "created",
            "power_state": POWERS.get(guest.state, guest.state),
            "node": self.node_words or (NODE_UUID if self.new else "sf-1"),
            "console_port": 31001,
            "vdi_port": self.lab.port,
            "video": {"model": "qxl", "memory": 65536, "vdi": "spice" if guest.spice else "vnc"},
            "agent_state": None,
        }
        return row | ({"vdi_tls_port": self.lab.tls_port} if guest.spice else {}) | guest.more

    def _file(self, guest: FakeGuest) -> Answer:
        ca = self.lab.ca_pem.replace("\n", "\\n")
        text = (
            f"[virt-viewer]\ntype=spice\nhost=sf-1\nport={self.lab.port}\n"
            f"tls-port={self.lab.tls_port}\ndelete-this-file=1\n"
        ) + (f"ca={ca}\n" if self.has_ca else "")
        return Answer(200, text.encode(), headers={"Content-Type": "application/x-virt-viewer"})

    def _switch(self, guest: FakeGuest, verb: str) -> Answer:
        if verb in self.may_not:
            return Answer(403, {"error": f"not allowed to {verb}", "status": 403})
        after = VERBS[verb] or guest.state
        if VERBS[verb] == guest.state:
            return Answer(409, {"error": f"instance is already {guest.state}", "status": 409})
        self.switched.append((guest.id, verb))
        guest.state = after
        return Answer(200, {})
