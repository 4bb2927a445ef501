"""Local VMs: a definition on disk becomes a QEMU process that belongs to nobody.

In this room: what a VM's command line is, how its process is started, found again and ended, how
its monitor is asked, and how a SPICE channel is handed over to it. Not in this room: who may reach
a VM, what is wanted of it, and how it is listed beside machines of other sources.

A VM outlives every broker process. Whether it lives is never remembered, always looked up: by the
lock QEMU holds on its pidfile, by the process's start time, and by what its monitor says.
"""
