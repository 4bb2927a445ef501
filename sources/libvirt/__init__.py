"""The libvirt source. The binding is imported when a connection is first wanted, and not before."""
