"""Drivers: one module per type of source, found through entry points, strangers to each other."""
