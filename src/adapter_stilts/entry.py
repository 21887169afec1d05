"""Where `adstilts` begins: it imports nothing before Ctrl-C ends it with one line."""

from __future__ import annotations

import signal
import sys

INTERRUPTED = "interrupted"
"""What is said after Ctrl-C where there is nothing to say of how to go on."""


def main() -> None:
    """Runs the command line; see `adapter_stilts.cli.main`."""
    try:
        from adapter_stilts.cli import main as command_line

        command_line()
    except KeyboardInterrupt:
        sys.stderr.write(f"adstilts: {INTERRUPTED}\n")
        sys.exit(130)
    finally:
        # Of another one while Python ends, threads would print where they were.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
