"""``edgeconv`` and ``python -m edgeconv``.

Nothing is imported here but what Python has imported already: Ctrl-C while the command line is
being imported ends as it does later.
"""

from __future__ import annotations

import sys

_INTERRUPTED = 130  # as shells have it for SIGINT


def main() -> None:
    """Import the command line and run it."""
    try:
        from edgeconv.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
