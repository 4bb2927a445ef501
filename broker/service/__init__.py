"""What people can ask: the port that every face calls, and the use cases behind it.

Here belong decisions (who may reach what, what a name means, what an export holds). Not here:
sockets, SQL, QEMU; those are reached through small protocols that `runtime` fills.
"""
