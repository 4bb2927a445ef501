"""The command line: a face that asks the service and prints what it says.

`commands.py` is the table of every command; a command's module is imported only when it is used.
All of stdout is written by `output.py`, all of stderr by `diagnostics.py`. Not here: decisions
about machines, tokens or sessions; those belong to the service.
"""
