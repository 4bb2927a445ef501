"""What a command line says about reaching its QEMU."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.vm.cmdline import CommandLine, Outlet, Speaks, Spice, understand


def line(text: str) -> CommandLine:
    return understand(["qemu-system-x86_64", *shlex.split(text)])


@pytest.mark.parametrize(
    ("text", "name"),
    [("-name web", "web"), ("-name guest=a,,b,process=x", "a,b"), ("-name web,process=x", "web"),
     ("--name web", "web"), ("-m 64", ""), ("-name a -name b", "b")],
)  # fmt: skip
def test_its_name(text: str, name: str) -> None:
    assert line(text).name == name


def test_a_uuid_of_zeros_is_none() -> None:
    assert line("-uuid 00000000-0000-0000-0000-000000000000").uuid == ""
    assert line("-uuid 6F4E2C1A-0000-4000-8000-000000000001").uuid.startswith("6f4e2c1a")


@pytest.mark.parametrize(
    ("text", "outlet"),
    [
        ("-qmp unix:/a,,b,server=on,wait=off", Outlet(Speaks.QMP, path="/a,b")),
        ("-qmp unix:/a,server,nowait", Outlet(Speaks.QMP, path="/a")),
        ("-qmp tcp:0.0.0.0:4444,server=on", Outlet(Speaks.QMP, host="127.0.0.1", port=4444)),
        ("-qmp tcp::4444,server=on", Outlet(Speaks.QMP, host="127.0.0.1", port=4444)),
        ("-monitor telnet:127.0.0.1:55,server,nowait",
         Outlet(Speaks.HMP, host="127.0.0.1", port=55)),
        ("-monitor unix:m.sock,server", Outlet(Speaks.HMP, path="m.sock")),
        ("-monitor stdio", Outlet(Speaks.HMP, other="stdio")),
        ("-qmp unix:/a", Outlet(Speaks.QMP, other="a socket that it connects to itself")),
        ("-chardev socket,id=c,path=/a,server=on,wait=off -mon chardev=c,mode=control",
         Outlet(Speaks.QMP, path="/a")),
        ("-chardev socket,id=c,fd=7,server=on -mon c,mode=control",
         Outlet(Speaks.QMP, descriptor=7)),
        ("-chardev socket,id=c,path=/a,server=on -mon c", Outlet(Speaks.HMP, path="/a")),
        ("-chardev socket,id=c,path=/a,server=on -qmp chardev:c", Outlet(Speaks.QMP, path="/a")),
        ("-chardev stdio,id=c -mon c,mode=control", Outlet(Speaks.QMP, other="stdio")),
        ("-mon nowhere", Outlet(Speaks.HMP, other="nowhere")),
    ],
)  # fmt: skip
def test_a_monitor_in_all_its_forms(text: str, outlet: Outlet) -> None:
    assert line(text).monitors == (outlet,)


def test_the_best_monitor_comes_first() -> None:
    found = line("-monitor stdio -monitor unix:/h,server=on -qmp unix:/q,server=on").monitors
    assert [outlet.path for outlet in found] == ["/q", "/h", None]


@pytest.mark.parametrize(
    ("text", "spice"),
    [
        ("-spice port=5910", Spice("127.0.0.1", port=5910)),
        ("-spice port=0,agent-mouse=on", Spice("127.0.0.1")),
        ("-spice tls-port=5911,addr=::,x509-dir=/pki,tls-channel=main,tls-channel=inputs",
         Spice("::1", tls_port=5911, ca_file="/pki/ca-cert.pem",
               certificate_file="/pki/server-cert.pem", only_tls=("main", "inputs"))),
        ("-spice unix=on,addr=/s,disable-ticketing=on",
         Spice("/s", path="/s", ticketing=False)),
        ("-spice port=1,disable-ticketing", Spice("127.0.0.1", port=1, ticketing=False)),
        ("-spice port=1,password=open,,up", Spice("127.0.0.1", port=1, password="open,up")),
        ("-object secret,id=s,data=open -spice port=1,password-secret=s",
         Spice("127.0.0.1", port=1, password="open")),
        ("-object secret,id=s,file=/t -spice port=1,password-secret=s",
         Spice("127.0.0.1", port=1, password_file="/t")),
        ("-object secret,id=s,data=b3Blbg==,format=base64 -spice port=1,password-secret=s",
         Spice("127.0.0.1", port=1, password="open")),
        ("-object secret,id=s,data=x,keyid=k,iv=v -spice port=1,password-secret=s",
         Spice("127.0.0.1", port=1)),
        ("-display spice-app", Spice(ticketing=False)),
        ("-vnc :1", None),
    ],
)  # fmt: skip
def test_spice_in_all_its_forms(text: str, spice: Spice | None) -> None:
    assert line(text).spice == spice


def test_other_screens_are_told() -> None:
    assert line("-vnc 127.0.0.1:1,password=on -display gtk,gl=on").screens == (
        "vnc 127.0.0.1:1",
        "gtk",
    )
    assert line("-display vnc=:2").screens == ("vnc :2",)


def test_a_ticket_is_in_no_repr() -> None:
    assert "open" not in repr(line("-spice port=1,password=open"))


@given(st.lists(st.text(max_size=20), max_size=12))
def test_no_arguments_make_it_raise(arguments: list[str]) -> None:
    understand(["qemu-kvm", *arguments])
