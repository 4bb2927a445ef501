"""Files that point at a console itself, round the proxy: with its own port and its real ticket.

Synchronous and light to import, as `broker.service.consoles`, which decides when one is made.
"""

from __future__ import annotations

import ipaddress

from broker import vv
from broker.errors import NoConsole, UsageError
from broker.model import Console, GivenTarget, HandOverTarget, Machine, TcpTarget, UnixTarget
from broker.service.port import Exported, ExportRequest

REAL_TICKET = (
    "This file holds the hypervisor's own ticket and goes round the proxy; "
    "whoever has it can open the console"
)


def of_kept(machine: Machine, request: ExportRequest, console: Console | None) -> Exported:
    """A file for a console as it is stored, with the ticket that its source gave.

    Raises:
        NoConsole: None is stored, or it listens on no port.
    """
    if console is None:
        raise NoConsole(
            f"{machine.full_name} has no console that a file could point at",
            fix="Leave out --direct: the proxy asks its source when the viewer arrives",
        )
    if isinstance(console.target, HandOverTarget | GivenTarget):
        raise NoConsole(
            f"{machine.full_name} listens on no port: its console is handed over by the proxy",
            fix="Leave out --direct",
        )
    return _pointing_at(machine, request, console)


def of_issued(machine: Machine, request: ExportRequest, console: Console) -> Exported:
    """A file for a console that was opened for one viewer; its ticket is that viewer's own.

    Raises:
        UsageError: The file would name a host that its reader cannot reach.
    """
    target = console.target
    if isinstance(target, TcpTarget) and request.elsewhere and is_loopback(target.host):
        raise UsageError(
            f"The file is meant for another machine, but it would name {target.host}",
            fix="Leave out --direct, or set spice.tcp.address in the VM's definition",
        )
    return _pointing_at(machine, request, console)


def see_that_all_is_allowed(request: ExportRequest) -> None:
    """What goes round the proxy cannot be held to less than all.

    Raises:
        UsageError: It should be.
    """
    if request.policy.words:
        raise UsageError(
            f"What goes round the proxy cannot be {request.policy.words[0]}",
            fix="Leave out --direct, or allow everything",
        )


def _pointing_at(machine: Machine, request: ExportRequest, console: Console) -> Exported:
    target = console.target
    host, port, tls_port, path, ca, subject, proxy = "", None, None, None, None, None, None
    if isinstance(target, TcpTarget):
        host, port, tls_port = request.host or target.host, target.port, target.tls_port
        ca, subject = target.ca_pem, target.host_subject
        if target.proxy is not None:  # viewers want it with its scheme
            proxy = "http://" + target.proxy.removeprefix("http://")
    elif isinstance(target, UnixTarget):
        path = target.path
    text = vv.render(
        vv.VvFile(
            host=host,
            port=None if tls_port else port,
            tls_port=tls_port,
            unix_path=path,
            password=console.ticket or "",
            ca=ca,
            host_subject=subject,
            proxy=proxy,
            title=title(machine),
            type=console.protocol.value,
        ),
        profile=request.profile,
    )
    return Exported(
        text=text,
        key=machine.key,
        name=machine.name,
        host=host,
        tls_port=tls_port,
        expires_at=None,
        notes=(REAL_TICKET,) if console.ticket else (),
    )


def title(machine: Machine, *, view_only: bool = False) -> str:
    """What the viewer's window says."""
    how = "view only" if view_only else "Shift+F12 releases the cursor"
    return f"{machine.name} ({machine.key.source}) - {how}"


def is_loopback(host: str) -> bool:
    """Whether only this host is reached by that name."""
    if host.lower() in ("localhost", "localhost.localdomain", "ip6-localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
