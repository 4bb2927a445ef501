"""What a source may send us to."""

import pytest

from broker.dialing import DialPolicy

ANYWHERE = DialPolicy()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "::",
        "169.254.1.1",
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "100.100.100.200",
        "224.0.0.1",
        "ff02::1",
    ],
)
def test_this_host_its_link_and_where_secrets_are_told_are_refused(address: str) -> None:
    assert ANYWHERE.refusal(address, 5900)
    wide = DialPolicy(networks=("0.0.0.0/0", "::/0"))
    assert wide.refusal(address, 5900), "naming everything is not naming this"


def test_what_is_refused_is_allowed_when_it_is_named() -> None:
    assert not DialPolicy(networks=("127.0.0.0/8",)).refusal("127.0.0.1", 5900)
    assert not DialPolicy(networks=("169.254.0.0/16",)).refusal("169.254.1.1", 5900)
    assert DialPolicy(networks=("169.254.0.0/16",)).refusal("169.254.169.254", 5900)
    assert not DialPolicy(local=True).refusal("127.0.0.1", 5900)
    assert not DialPolicy(local=True).refusal("::1", 5900)
    assert DialPolicy(local=True).refusal("169.254.169.254", 5900)


def test_networks_and_ports_are_kept_to() -> None:
    policy = DialPolicy(
        networks=("10.1.0.0/16", "2001:db8::/32"), ports=((5900, 6100), (61000, 61000))
    )
    assert policy.refusal("10.1.2.3", 5900) == ""
    assert policy.refusal("2001:db8::7", 61000) == ""
    assert "10.1.0.0/16" in policy.refusal("10.2.2.3", 5900)
    assert "5900-6100, 61000" in policy.refusal("10.1.2.3", 22)
    assert "1024-65535" in ANYWHERE.refusal("10.1.2.3", 22)
    assert ANYWHERE.refusal("10.1.2.3", 5900) == ""
