import pytest

from broker.vm.failures import explain, how_it_ended, last_words

Q = "qemu-system-x86_64: "
SAID = [
    ("cannot create PID file: Cannot lock pid file: Resource temporarily unavailable", "running"),
    ("-spice agent-mouse=on: spice support is disabled", "has no SPICE"),
    ("-chardev spicevmc,id=a: 'spicevmc' is not a valid char driver name", "has no SPICE"),
    (
        '-drive file=/a.qcow2: Failed to get "write" lock\n'
        "Is another process using the image [/a.qcow2]?",
        "its disk /a.qcow2 is used by another program",
    ),
    (
        '-drive file=/a.qcow2: Failed to get shared "write" lock\n'
        "Is another process using the image [/a.qcow2]?",
        "its disk /a.qcow2 is used by another program",
    ),
    ("-drive x: Could not open '/no/a.qcow2': No such file or directory", "/no/a.qcow2 does not"),
    ("-drive x: Could not open '/root/a': Permission denied", "may not read or write its image"),
    ("-drive x: Image is not in qcow2 format", "not in qcow2 format"),
    ("-cdrom /tmp: 'file' driver requires '/tmp' to be a regular file", "/tmp is not a disk image"),
    (
        "-netdev user: Could not set up host forwarding rule 'tcp:127.0.0.1:2222-:22'",
        "its forward tcp:127.0.0.1:2222-:22 is taken",
    ),
    ("failed to initialize kvm: Permission denied", "may not use KVM"),
    ("failed to initialize kvm: No such device", "KVM does not work here"),
    ("error: failed to set MSR 0x10a to 0x69", "KVM fails on this host"),
    ("CPU model 'host' requires KVM or HVF", "CPU model host needs KVM"),
    ("cannot set up guest memory 'pc.ram': Cannot allocate memory", "not enough memory"),
    ("-drive x: No space left on device", "a disk of this host is full"),
    ("UNIX socket path '/x' is too long", "path of a socket is too long"),
    ("-vnc :77: Failed to find an available port: Address already in use", "port it wants"),
    (
        "warning: Spice: reds.cpp:2585:reds_init_socket: binding socket to 127.0.0.1:5977 failed\n"
        "failed to initialize spice server",
        "the port 127.0.0.1:5977 of its SPICE is taken",
    ),
    ("unable to find CPU model 'nosuch'", "does not understand"),
    ("unsupported machine type", "does not understand"),
    ("-device nosuch: 'nosuch' is not a valid device model name", "does not understand"),
    ("-bogus: invalid option", "does not understand"),
    ("-spice a,bogus=1: Invalid parameter 'bogus'", "does not understand"),
    ("Duplicate ID 'a' for chardev", "does not understand"),
    ("-device b,drive=z: Property 'b.drive' can't find value 'z'", "does not understand"),
]


@pytest.mark.parametrize(("said", "meaning"), SAID, ids=[said[:40] for said, _ in SAID])
def test_what_qemu_says_is_explained_quoted_and_has_a_fix(said: str, meaning: str) -> None:
    problem = explain("web-01", Q + said + "\n", 1)
    assert problem.what.startswith("web-01: ")
    assert meaning in problem.what
    assert said.splitlines()[-1] in problem.what
    assert problem.fix
    assert "{" not in problem.fix


def test_what_tells_is_found_among_warnings() -> None:
    warning = f"{Q}warning: netdev n0 has no peer\n"
    problem = explain("vm", f"{warning}{Q}Could not open 'a': No such file or directory\n", 1)
    assert problem.what == (
        "vm: its image a does not exist: \"Could not open 'a': No such file or directory\""
    )


def test_words_that_nobody_knows_are_quoted_all_the_same() -> None:
    assert explain("vm", Q + "the moon is full\n", 1).what == (
        'vm: QEMU ended at once (exit code 1): "the moon is full"'
    )


def test_a_silent_death_names_the_signal() -> None:
    assert explain("vm", "", -9).what == "vm: QEMU ended at once (killed by SIGKILL)"


def test_last_words_leave_out_what_is_harmless_and_what_is_ours() -> None:
    output = (
        "console-broker: 2026-11-21T08:15:00Z qemu-system-x86_64 -name guest=a\n"
        f"{Q}warning: host doesn't support requested feature\n"
        "2026-11-21T08:15:00.000000Z qemu-system-x86_64: real trouble\n"
        f"{Q}terminating on signal 15 from pid 1 (timeout)\n"
    )
    assert last_words(output) == "real trouble"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (1, "exit code 1"),
        (-6, "killed by SIGABRT"),
        (-99, "killed by signal 99"),
    ],
)
def test_an_exit_code_reads(code: int, words: str) -> None:
    assert how_it_ended(code) == words
