"""Console Broker's core: nouns, protocol, store, proxy, VMs, services; no face and no driver.

The floors and what each room is for stand in ARCHITECTURE.md; import-linter holds them.
"""

__version__ = "0.1.0"
