"""``python -m slide``: train, predict and evaluate from files; see `slide._cli.commands`."""

import sys

from slide._cli.commands import main

if __name__ == "__main__":
    # Show the line of an epoch as soon as the epoch is over, also in a log file.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.exit(main())
