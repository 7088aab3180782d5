"""The command line, ``python -m slide``.

Map of the package::

    commands      arguments, and the commands train, predict and evaluate
    reading       labelled rows from XMC and svmlight files
    evaluation    metrics for the command evaluate
"""

from slide._cli.commands import main

__all__ = ["main"]
