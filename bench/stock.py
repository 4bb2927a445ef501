"""A home with consoles in it: what the measured commands read."""

from __future__ import annotations

from pathlib import Path


def static_sources(count: int) -> str:
    """A sources.yaml with `count` static consoles called bench-0001 and so on."""
    lines = ["- source: bench", "  type: static", "  consoles:"]
    for number in range(1, count + 1):
        lines += [
            f"    - uuid: 00000000-0000-4000-8000-{number:012d}",
            f"      name: {name(number)}",
            f"      hypervisor: host-{number % 20:02d}",
            f"      hypervisor_ip: 192.0.2.{number % 250 + 1}",
            f"      secure_port: {5900 + number % 1000}",
            "      ticket: bench-ticket",
        ]
    return "\n".join(lines) + "\n"


def name(number: int) -> str:
    """What the console with that number is called."""
    return f"bench-{number:04d}"


def furnish(home: Path, count: int) -> None:
    """Write the configuration of a home (`BROKER_HOME`) with that many consoles."""
    config = home / "config"
    config.mkdir(parents=True)
    file = config / "sources.yaml"
    file.write_text(static_sources(count))
    file.chmod(0o600)
