"""The command line, ``python -m slide``.

Map of the package::

    commands      arguments, and the commands train, predict and evaluate
    files         what a command reads and writes; never the same file
    reading       labelled rows from XMC and svmlight files
    evaluation    metrics for the command evaluate
"""

from slide._cli.commands import main

__all__ = ["main"]
