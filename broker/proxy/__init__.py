"""The SPICE proxy: viewers on one side, hypervisors on the other, no way to kill a VM between.

What belongs here: listening, TLS, the link stage of both sides, dialling, the relay, and the order
in which a session ends. What does not: who may reach what (a `Gate` is passed in), how a local VM
hands a channel over (a `HandOver` is passed in), storage, configuration, starting processes.

Wiring is in `proxy.Proxy`; what the rest of the house has to provide is in `gate`.
"""
