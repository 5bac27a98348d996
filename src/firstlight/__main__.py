"""``firstlight`` and ``python -m firstlight``."""

import sys


def main() -> None:
    """The command line's entry: errors of the user's making print one line and no traceback."""
    from .cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
