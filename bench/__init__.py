"""Measurements that a person can repeat: `make bench` prints what docs/performance.md holds.

Each part times whole processes from outside and puts the things it compares side by side: rounds
are interleaved (A B C A B C …), so a busy moment of the machine hits all of them alike. Reported
are minimum, median and 95th percentile; nothing is left out and nothing is averaged away.
"""
