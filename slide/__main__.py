"""``python -m slide``: train, predict and evaluate from files; see `slide._cli.commands`."""

import os
import sys

from slide._cli.commands import main


def _prepare_streams() -> None:
    """Make stdin, stdout and stderr safe to use, whatever the shell gave."""
    for number in (0, 1, 2):
        # A file must not get the number of a closed stdin, stdout or stderr.
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is not None:
        # Show the line of an epoch as soon as the epoch is over, also in a log file. A new file,
        # because Python's own may be unbuffered (PYTHONUNBUFFERED), and then loses text without an
        # error where a disk is full.
        sys.stdout = open(
            1, "w", buffering=1, encoding=sys.stdout.encoding, errors=sys.stdout.errors,
            closefd=False,
        )  # fmt: skip


if __name__ == "__main__":
    _prepare_streams()
    sys.exit(main())
