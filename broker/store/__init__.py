"""What is kept: sources and their machines, what is wanted, tokens, sessions, the audit log.

`Store` is the whole of it, through SQLModel; `HotStore` answers the few questions of commands that
must start fast, with SQL generated from the same tables. Both hand out nouns: rows never leave
this room. The database is also the bus between processes: `data_version` changes when it does.
"""
