import pytest

from broker.vm.insecure import insecure


@pytest.mark.parametrize(
    "words",
    [
        "-vnc :0",
        "--vnc 127.0.0.1:1",
        "-vnc :0,password=off",
        "-display vnc=:1",
        "-vnc",
        "-spice port=5901,disable-ticketing=on",
        "-spice port=5901,disable-ticketing",
        "-spice port=5901,password=hunter2",
        "-monitor tcp:127.0.0.1:4444,server,nowait",
        "-monitor telnet::4444,server",
        "-qmp tcp:0.0.0.0:4444,server=on,wait=off",
        "-qmp-pretty tcp:localhost:4444,server",
        "-s",
        "-S -s",
        "-gdb tcp::1234",
        "-chardev socket,id=a,host=0.0.0.0,port=1,server=on",
        "-chardev socket,id=a,port=1,server",
        "-chardev socket,id=a,host=::,port=1,server=on,telnet=on",
        "-chardev socket,id=a,host=127.0.0.1,port=1,server=on -mon chardev=a,mode=control",
        "-chardev udp,id=a,port=1",
        "-serial tcp::5555,server,nowait",
        "-serial telnet:192.0.2.1:5555,server=on",
        "-serial mon:telnet:0.0.0.0:5555,server",
        "-incoming tcp:0:4444",
        "-readconfig /etc/vm.cfg",
        "-set chardev.a.host=0.0.0.0",
        "-object secret,id=s0,data=hunter2",
    ],
)
def test_a_console_that_asks_nobody_for_a_password_is_found(words: str) -> None:
    assert len(insecure(words.split())) == 1


@pytest.mark.parametrize(
    "words",
    [
        "-device virtio-rng-pci",
        "-vnc unix:/run/x.sock",
        "-vnc none",
        "-vnc :0,password=on",
        "-vnc :0,password-secret=s0",
        "-spice port=5901",
        "-spice port=5901,disable-ticketing=off",
        "-spice unix=on,addr=/run/x.sock,disable-ticketing=on",
        "-monitor unix:/run/m.sock,server=on,wait=off",
        "-monitor stdio",
        "-qmp none",
        "-S",
        "-gdb unix:/run/g.sock,server=on",
        "-chardev socket,id=a,path=/run/a.sock,server=on",
        "-chardev socket,id=a,host=127.0.0.1,port=1,server=on",
        "-chardev socket,id=a,host=192.0.2.1,port=1",
        "-serial tcp:127.0.0.1:5555,server",
        "-serial tcp:192.0.2.1:5555",
        "-serial stdio",
        "-incoming defer",
        "-object secret,id=s0,file=/run/secret",
        "-device virtio-vga -s-is-no-option-here",
        "-append -vnc-is-nothing-here",
    ],
)
def test_what_asks_or_does_not_listen_passes(words: str) -> None:
    assert insecure(words.split()) == []


def test_what_is_found_is_named_with_its_reason() -> None:
    assert insecure(["-m", "64", "-gdb", "tcp::1234"]) == [
        "-gdb tcp::1234: whoever connects commands QEMU"
    ]


def test_a_secret_is_not_repeated() -> None:
    assert "hunter2" not in " ".join(insecure(["-spice", "port=1,password=hunter2"]))
