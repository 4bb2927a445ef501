"""Making it so: what is wanted is compared with what is seen, and the difference is carried out.

`plan` is pure; `loop` knows keys and pauses but no machines; `machines`, `inventory` and `expiry`
join the two. Nothing here knows a face, a socket of the proxy or QEMU: drivers do.
"""
