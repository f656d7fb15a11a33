"""The commands of `python3 -m eventsock`, one module each.

A command knows its own arguments and the public face of the package, like any other program. It has `add_to(commands)`, which puts
its parser beside the others; the parser's default `run` takes the parsed arguments and returns the exit status.
"""
