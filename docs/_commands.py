"""The directive `command-help`: what the commands of ``python -m slide`` say with --help."""

import contextlib
import io
import os

from docutils import nodes
from docutils.parsers.rst import Directive

from slide._cli.commands import main

COMMANDS = ("train", "predict", "evaluate")


class CommandHelp(Directive):
    """The help of every command, as it is printed."""

    def run(self):
        """Make a title and a literal block of each."""
        found = []
        for command in COMMANDS:
            said = help_of(command)
            title = nodes.rubric("", f"python -m slide {command}")
            found += [title, nodes.literal_block(said, said, language="text")]
        return found


def help_of(command):
    """The text that a command prints with --help."""
    os.environ.update(COLUMNS="80", NO_COLOR="1")
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main([command, "--help"])
    return said.getvalue().rstrip()
