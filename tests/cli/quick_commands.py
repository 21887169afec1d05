"""Calls commands one after the other in one process, and says after each what is imported.

python quick_commands.py < commands.json > results.json
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from typing import Any

HEAVY = ("torch", "transformers", "adapters", "datasets", "evaluate", "peft", "accelerate")


def call(arguments: list[str]) -> dict[str, Any]:
    """One command: its exit code, what it printed, and the heavy packages that are imported."""
    from adapter_stilts import cli

    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["adstilts", *arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
    heavy = [name for name in HEAVY if name in sys.modules]
    return {"code": code, "out": out.getvalue(), "err": err.getvalue(), "heavy": heavy}


if __name__ == "__main__":
    commands: list[list[str]] = json.load(sys.stdin)
    results = [call(arguments) for arguments in commands]
    sys.stdout.write(json.dumps(results))
