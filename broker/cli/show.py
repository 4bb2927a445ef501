"""`broker show NAME`: all that is known of one console."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from broker.cli import jsonable
from broker.cli.args import Parser, Verb
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.human import utc
from broker.model import GivenTarget, HandOverTarget, TcpTarget, UnixTarget

if TYPE_CHECKING:
    from broker.model import MachineSpec, Session, Target
    from broker.service.port import ConsoleInfo, Service


def _arguments(parser: Parser) -> None:
    add_console(parser)


def add_console(parser: Parser, *, optional: bool = False) -> None:
    """The positional that names a console."""
    nargs = "?" if optional else None
    parser.add_argument("console", metavar="NAME", nargs=nargs, help="name, source/name or uuid")


def _run(call: Call, args: Namespace) -> Exit:
    async def ask(service: Service) -> tuple[ConsoleInfo, MachineSpec | None, list[Session]]:
        info = await service.find(args.console)
        machine = info.machine
        live = [each for each in await service.sessions() if each.key == machine.key]
        return info, await service.spec(machine.key) if machine.defined else None, live

    info, spec, live = call.ask(ask)
    if call.out.json:
        document = jsonable.shown(info, live)
        document["spec"] = None if spec is None else jsonable.spec(spec)
        call.out.document(document)
        return Exit.DONE
    machine = info.machine
    call.out.facts(
        (
            ("name", machine.name),
            ("source", machine.key.source),
            ("uuid", machine.key.uuid),
            ("state", f"{machine.state.value}{' (stale)' if info.stale else ''}"),
            ("kind", "seen: adopted, never started from here" if machine.adopted else ""),
            ("reason", machine.reason),
            ("protocol", machine.protocol.value),
            ("hypervisor", machine.hypervisor),
            ("address", machine.hypervisor_ip),
            ("screen", _where(machine.target)),
            ("sessions", str(info.sessions or "")),
            ("process", str(machine.pid or "")),
            ("started", utc(machine.started_at) if machine.started_at else ""),
            ("last seen", utc(info.seen_at) if info.seen_at else ""),
            *_spec_facts(spec),
            *(("session", _who(session)) for session in live),
        )
    )
    return Exit.DONE


def _who(session: Session) -> str:
    whom = f" ({session.label})" if session.label else ""
    return f"{session.id}, {session.client}{whom}: {', '.join(session.policy.words) or 'all'}"


def _where(target: Target | None) -> str:
    match target:
        case TcpTarget():
            ports = [
                f"port {target.port}" if target.port else "",
                f"TLS port {target.tls_port}" if target.tls_port else "",
            ]
            return f"{target.host}, {' and '.join(filter(None, ports))}"
        case UnixTarget():
            return f"unix socket {target.path}"
        case HandOverTarget():
            return "handed over by QEMU; nothing listens"
        case GivenTarget():
            return f"handed over by {target.source}; no address is needed"
        case None:
            return ""


def _spec_facts(spec: MachineSpec | None) -> tuple[tuple[str, str], ...]:
    if spec is None:
        return ()
    disks = (("disk", f"{disk.path} ({disk.format}, {disk.bus.value})") for disk in spec.disks)
    return (
        ("memory", f"{spec.memory} MiB"),
        ("cpus", str(spec.cpus)),
        ("accel", spec.accel.value),
        ("firmware", spec.firmware.value),
        ("display", spec.display.value),
        ("network", spec.network.value),
        *disks,
        ("cdrom", spec.cdrom or ""),
        ("arguments", " ".join(spec.extra_args)),
    )


SHOW = Verb(_arguments, _run)
