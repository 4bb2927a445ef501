"""What a token allows, in terms of channels and messages."""

from __future__ import annotations

from broker.model import LinkPolicy
from broker.proxy.gate import Policy
from broker.spice.agent import AgentRules
from broker.spice.constants import ChannelType


def policy_for(link: LinkPolicy) -> Policy:
    """How the proxy holds a link to its policy.

    Who may only look on gets no channel that leads into the machine beside keys and pointer,
    which stay open and are not listened to: viewers do badly without them.
    """
    said = link.spelled_out()
    hidden: set[int] = set()
    if not said.usb:
        hidden.add(ChannelType.USBREDIR)
    if not said.audio_in:
        hidden.add(ChannelType.RECORD)
    if not said.file_transfer:
        hidden.add(ChannelType.WEBDAV)
    if said.view_only:
        hidden.add(ChannelType.PORT)
    agent = AgentRules(
        clipboard=said.clipboard,
        file_transfer=said.file_transfer,
        touching=not said.view_only,
    )
    return Policy(view_only=said.view_only, hidden=frozenset(hidden), agent=agent)
