"""The control plane that kerbside-proxy asks: answers at once, from memory, yes to everybody.

kerbside's own has a database behind it, and what that takes is not the proxy's. Runs in an
environment of its own, which has kerbside's `rpc` package and gRPC and nothing of ours
(`bench.relay.kerbside`): `python kerbside_control.py SOCKET BACKEND` hears the server's password
as a line, and says `ready`.
"""

import itertools
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from kerbside.rpc import kerbside_pb2 as messages
from kerbside.rpc import kerbside_pb2_grpc as service


class OpenControl(service.KerbsideProxyServicer):
    """Sends every viewer to the one server, each in a session of its own."""

    def __init__(self, backend, ticket):
        self._backend = backend
        self._ticket = ticket
        self._numbers = itertools.count()
        self._ended = threading.Event()

    def AuthorizeConnection(self, request, context):
        """To the server, with kerbside's own default policy: enforce, all channels."""
        return messages.AuthorizeConnectionReply(
            target=messages.Target(
                hypervisor="localhost",
                hypervisor_ip="127.0.0.1",
                insecure_port=self._backend,
                ticket=self._ticket,
                source="bench",
                uuid="bench",
                session_id=f"bench-{next(self._numbers)}",
            ),
            firewall_policy=messages.FirewallPolicy(mode=messages.FirewallPolicy.ENFORCE),
        )

    def _noted(self, request, context):
        return messages.StatusReply(success=True)

    RegisterChannel = RecordAuditEvent = DeregisterChannel = ClearNodeChannels = _noted

    def ProxyControl(self, request, context):
        """Nobody is ever thrown out."""
        yield messages.ProxyControlEvent(heartbeat=messages.Heartbeat())
        context.add_callback(self._ended.set)
        self._ended.wait()


def main():
    """Until it is ended."""
    place, backend = sys.argv[1:]
    ticket = sys.stdin.readline().rstrip("\n")
    server = grpc.server(ThreadPoolExecutor(16))
    service.add_KerbsideProxyServicer_to_server(OpenControl(int(backend), ticket), server)
    server.add_insecure_port(f"unix:{place}")
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
