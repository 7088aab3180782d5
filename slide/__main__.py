"""``python -m slide``: train, predict and evaluate from files; see `slide._cli.commands`."""

import sys

from slide._cli.commands import main

if __name__ == "__main__":
    # Each epoch's line is seen when it is over, also in a log file.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.exit(main())
