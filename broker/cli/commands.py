"""The table of every command: its words, where it lives, its help line and its options.

Data only. Help, completion and "did you mean" are answered from here without importing the
module of any command; a test holds the options against the parsers.
"""

from __future__ import annotations

from typing import NamedTuple

GLOBAL_OPTIONS = (
    "--help", "--home", "--json", "--log-format", "--quiet", "--verbose", "--version",
)  # fmt: skip
"""Options that stand before or after the command; `--home` and `--version` only before it."""

COMMON_OPTIONS = ("--help", "--json", "--log-format", "--quiet", "--verbose")
"""Options that every command takes."""

DISK_OPTIONS = ("--bus", "--format", "--read-only", "--snapshot")
MACHINE_OPTIONS = (
    "--accel",
    "--allow-insecure",
    "--append",
    "--autostart",
    "--cdrom",
    "--cloud-init",
    "--cpu",
    "--cpus",
    "--disk",
    "--display",
    "--env",
    "--firmware",
    "--floppy",
    "--forward",
    "--initrd",
    "--interface",
    "--kernel",
    "--machine",
    "--memory",
    "--network",
    "--nic",
    "--no-agent",
    "--no-autostart",
    "--no-sandbox",
    "--no-serial",
    "--no-tablet",
    "--restart",
    "--secure-boot",
    "--sound",
    "--spice-port",
    "--tpm",
    "--usb",
    "--vnc",
)
OPENING = ("--console-token", "--label", "--no-wait", "--nova-token", "--to", "--wait")
POLICY_OPTIONS = (
    "--no-audio-in",
    "--no-clipboard",
    "--no-file-transfer",
    "--no-usb",
    "--session-ttl",
    "--take-over",
    "--view-only",
    "--wait-turn",
)


class Command(NamedTuple):
    """One command.

    Attributes:
        words: What is typed after `broker`, one or two words.
        target: `module:NAME` of its `args.Verb`.
        help: One sentence, no final period.
        options: Its own long options.
        takes: What its positionals are, for completion, a word each: `console`, `vm`, `qemu`,
            `file` (any number, so the last), `shell`, or words to choose from with `|` between.
    """

    words: str
    target: str
    help: str
    options: tuple[str, ...] = ()
    takes: str = ""


COMMANDS: tuple[Command, ...] = (
    Command(
        "list",
        "broker.cli.list:LIST",
        "List the consoles of all sources",
        ("--refresh", "--source", "--state"),
    ),
    Command("show", "broker.cli.show:SHOW", "Show all that is known of a console", (), "console"),
    Command(
        "export-vv",
        "broker.cli.export_vv:EXPORT",
        "Write a .vv file that opens a console in a viewer",
        (
            "--direct",
            "--force",
            "--from",
            "--host",
            "--label",
            "--once",
            "--output",
            "--profile",
            "--to",
            "--ttl",
            *POLICY_OPTIONS,
        ),
        "console",
    ),
    Command(
        "open",
        "broker.cli.open:OPEN",
        "Open a console in the viewer",
        (*OPENING, *POLICY_OPTIONS),
        "console",
    ),
    Command(
        "run",
        "broker.cli.run:RUN",
        "Boot a disk image or an ISO and open its console",
        (
            "--demo",
            "--export",
            "--headless",
            "--name",
            "--open",
            "--print-command",
            "--rm",
            "--serial",
            *DISK_OPTIONS,
            *MACHINE_OPTIONS,
        ),
        "file",
    ),
    Command("vm list", "broker.cli.vm:LIST", "List the local VMs"),
    Command(
        "vm define",
        "broker.cli.vm_define:DEFINE",
        "Define a local VM",
        ("--file", *MACHINE_OPTIONS),
    ),
    Command(
        "vm edit",
        "broker.cli.vm_edit:EDIT",
        "Change how a VM is defined",
        ("--file", *MACHINE_OPTIONS),
        "vm",
    ),
    Command(
        "vm show",
        "broker.cli.vm_show:SHOW",
        "Show how a VM is defined, or the command that starts it",
        ("--command", "--yaml"),
        "vm",
    ),
    Command(
        "vm schema",
        "broker.cli.vm_show:SCHEMA",
        "Print the JSON schema of a VM's YAML",
    ),
    Command("vm start", "broker.cli.vm_power:START", "Power VMs on", (), "vm"),
    Command(
        "vm stop",
        "broker.cli.vm_power:STOP",
        "Ask VMs to power off",
        ("--no-wait", "--timeout", "--wait"),
        "vm",
    ),
    Command("vm kill", "broker.cli.vm_power:KILL", "Power VMs off at once", (), "vm"),
    Command("vm pause", "broker.cli.vm_power:PAUSE", "Hold VMs where they are", (), "vm"),
    Command("vm resume", "broker.cli.vm_power:RESUME", "Let VMs go on", (), "vm"),
    Command("vm reset", "broker.cli.vm_power:RESET", "Press the reset button of VMs", (), "vm"),
    Command("vm reboot", "broker.cli.vm_power:REBOOT", "Ask guests to start anew", (), "console"),
    Command(
        "vm delete",
        "broker.cli.vm_power:DELETE",
        "Forget VMs that are off",
        ("--delete-disks", "--yes"),
        "vm",
    ),
    Command("vm rename", "broker.cli.vm:RENAME", "Call a VM something else", (), "vm"),
    Command(
        "vm clone", "broker.cli.vm_clone:CLONE", "Make a VM of one that is off", ("--linked",), "vm"
    ),
    Command(
        "vm scan", "broker.cli.vm_adopt:SCAN", "List the QEMUs that run here, and whose they are"
    ),
    Command(
        "vm adopt",
        "broker.cli.vm_adopt:ADOPT",
        "Take in a QEMU that somebody started by hand",
        ("--name", "--write"),
        "qemu",
    ),
    Command("vm forget", "broker.cli.vm_adopt:FORGET", "Let an adopted VM go", (), "vm"),
    Command(
        "vm log",
        "broker.cli.vm:LOG",
        "Print QEMU's own output, or the guest's serial port",
        ("--previous", "--serial"),
        "vm",
    ),
    Command(
        "vm screenshot",
        "broker.cli.vm_screen:SCREENSHOT",
        "Take a picture of a VM's screen",
        ("--force", "--output"),
        "vm",
    ),
    Command("vm keys", "broker.cli.vm_screen:KEYS", "Press keys on a VM", ("--pace",), "vm"),
    Command(
        "vm type",
        "broker.cli.vm_screen:TYPE",
        "Type a text on a VM's keyboard",
        ("--enter", "--layout", "--pace"),
        "vm",
    ),
    Command(
        "vm media",
        "broker.cli.vm_media:MEDIA",
        "Put a medium into a VM's drive, or take it out",
        ("--drive", "--force"),
        "vm insert|eject file",
    ),
    Command(
        "vm link",
        "broker.cli.vm_media:LINK",
        "Pull out a VM's network cable, or plug it in",
        ("--card",),
        "vm up|down",
    ),
    Command(
        "vm snapshot",
        "broker.cli.vm_snapshot:SNAPSHOT",
        "Save, load, list or delete states of a VM that runs",
        ("--timeout",),
        "save|load|list|delete vm",
    ),
    Command(
        "vm monitor",
        "broker.cli.vm_monitor:MONITOR",
        "Ask QEMU's own monitor, beside all others",
        ("--qmp", "--timeout"),
        "vm",
    ),
    Command(
        "vm serial",
        "broker.cli.vm_serial:SERIAL",
        "Be at a VM's serial console",
        ("--after", "--history", "--no-input", "--timeout", "--until"),
        "vm",
    ),
    Command(
        "serve",
        "broker.cli.serve:SERVE",
        "Run the SPICE proxy until it is told to stop",
        ("--listen", "--tls-port"),
    ),
    Command("status", "broker.cli.status:STATUS", "Say whether a proxy is serving", ("--wait",)),
    Command(
        "sessions",
        "broker.cli.sessions:SESSIONS",
        "List the live sessions, or tell all of one",
        (),
        "session",
    ),
    Command(
        "top",
        "broker.cli.top:TOP",
        "Watch the live sessions, refreshed",
        ("--count", "--every", "--once"),
    ),
    Command(
        "latency",
        "broker.cli.latency:LATENCY",
        "Measure how long a person at a console waits",
        (
            "--box",
            "--cadence",
            "--control-socket",
            "--file",
            "--max-seconds",
            "--metric",
            "--output",
            "--samples",
            "--scancode",
            "--take-over",
            "--via",
        ),
        "console",
    ),
    Command(
        "control",
        "broker.cli.control:CONTROL",
        "Drive a console without a window, over a unix socket",
        ("--file", "--socket", "--take-over"),
        "console",
    ),
    Command("message", "broker.cli.sessions:MESSAGE", "Say something to a session", (), "session"),
    Command("disconnect", "broker.cli.sessions:DISCONNECT", "End a session", (), "session"),
    Command(
        "revoke",
        "broker.cli.revoke:REVOKE",
        "Make files that nobody has used open nothing any more",
        ("--all",),
        "console",
    ),
    Command(
        "sources",
        "broker.cli.sources:SOURCES",
        "List the sources and how they do",
        ("--refresh",),
        "list|check|pause|resume|retry|schema",
    ),
    Command(
        "events",
        "broker.cli.events:EVENTS",
        "Print what happened: sessions, refusals, starts and stops",
        ("--after", "--follow", "--limit"),
    ),
    Command("config path", "broker.cli.config:PATH", "Say where files live"),
    Command("config show", "broker.cli.config:SHOW", "Print the settings in force"),
    Command("config check", "broker.cli.config:CHECK", "Check broker.yaml and sources.yaml"),
    Command(
        "doctor",
        "broker.cli.doctor:DOCTOR",
        "Find the first broken step on the way to a screen",
        (),
        "console",
    ),
    Command(
        "smoke",
        "broker.cli.smoke:SMOKE",
        "Try everything once, for real, in a few seconds",
        (
            "--banner",
            "--boot-timeout",
            "--budget",
            "--client",
            "--format",
            "--image",
            "--keep",
            *MACHINE_OPTIONS,
        ),
    ),
    Command(
        "tui",
        "broker.cli.tui:TUI",
        "Open the terminal interface",
        ("--demo", "--readonly", "--web"),
    ),
    Command(
        "completion",
        "broker.cli.completion:COMPLETION",
        "Print the completion script of a shell",
        (),
        "shell",
    ),
)

GROUPS = {
    "vm": "Define, start and stop local VMs",
    "config": "Look at the configuration",
}
"""The first words of two-word commands, with the help of each group."""

CHOICES = {
    "--accel": ("auto", "kvm", "tcg"),
    "--client": ("ours", "ryll", "remote-viewer"),
    "--bus": ("virtio", "sata", "scsi", "nvme", "usb", "floppy"),
    "--display": ("std", "qxl", "virtio", "none"),
    "--firmware": ("bios", "uefi"),
    "--log-format": ("text", "json"),
    "--network": ("none", "user", "tap", "bridge"),
    "--nic": ("virtio", "e1000", "e1000e", "rtl8139"),
    "--profile": ("remote-viewer", "ryll", "minimal"),
    "--restart": ("never", "on-crash", "always"),
}
"""Options whose values are a few words, for completion and for the parsers."""

SHELLS = ("bash", "zsh", "fish")


def find(words: str) -> Command | None:
    """The command of exactly these words."""
    return next((command for command in COMMANDS if command.words == words), None)


def first_words() -> tuple[str, ...]:
    """What may follow `broker`: single commands and groups, in the order of the table."""
    return tuple(dict.fromkeys(command.words.split()[0] for command in COMMANDS))


def verbs_of(group: str) -> tuple[Command, ...]:
    """The commands of a group."""
    return tuple(command for command in COMMANDS if command.words.startswith(f"{group} "))
