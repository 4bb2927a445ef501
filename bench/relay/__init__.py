"""How fast the proxy relays, beside no proxy and beside others: `python -m bench.relay`.

A load generator in C (`load_server.c`, `load_client.c`) plays SPICE server and viewer; what is
measured runs between them as a real process of its own. Contenders are measured in turns within
each round, pinned to one CPU with the generator on another, and a table gives medians and, in
brackets, the smallest and largest of all rounds. It takes cc, OpenSSL's headers and haproxy; a
message names the packages when one is missing. kerbside-proxy is fetched from the package index
the first time, and left out where it cannot be had. What is measured stays on the loopback.
"""
