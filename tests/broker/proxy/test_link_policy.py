"""What a token allows, in terms of channels and messages."""

from __future__ import annotations

import pytest

from broker.model import LinkPolicy
from broker.proxy.link_policy import policy_for
from broker.spice.constants import ChannelType


@pytest.mark.parametrize(
    ("link", "hidden"),
    [
        (LinkPolicy(), set()),
        (LinkPolicy(usb=False), {ChannelType.USBREDIR}),
        (LinkPolicy(audio_in=False), {ChannelType.RECORD}),
        (LinkPolicy(file_transfer=False), {ChannelType.WEBDAV}),
        (LinkPolicy(clipboard=False), set()),
        (
            LinkPolicy(view_only=True),
            {ChannelType.USBREDIR, ChannelType.RECORD, ChannelType.WEBDAV, ChannelType.PORT},
        ),
    ],
    ids=["all", "no usb", "no microphone", "no files", "no clipboard", "view only"],
)
def test_what_is_taken_away_is_not_listed(link: LinkPolicy, hidden: set[int]) -> None:
    policy = policy_for(link)
    assert policy.hidden == hidden
    assert policy.view_only is link.view_only
