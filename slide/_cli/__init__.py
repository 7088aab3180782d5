"""The command line, ``python -m slide``."""

from slide._cli.commands import main

__all__ = ["main"]
