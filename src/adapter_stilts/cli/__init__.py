"""The command line: parses, calls the public functions, prints. No logic of its own."""

from __future__ import annotations

import logging
import os
import sys
import traceback

import typer

from adapter_stilts.cli import evaluate, explain, info, merge, predict, train, zoo
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.safety import printable

app = typer.Typer(
    name="adstilts",
    help=(
        "Train a task once, in English, on a frozen multilingual encoder; use it in fifty "
        "languages."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
info.register(app)
train.register(app)
merge.register(app)
predict.register(app)
evaluate.register(app)
explain.register(app)
zoo.register(app)


@app.callback()
def options(
    debug: bool = typer.Option(False, "--debug", help="Show a traceback when something fails."),
) -> None:
    """Options of every command."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    if debug:
        os.environ["ADSTILTS_DEBUG"] = "1"


def main() -> None:
    """Entry point of `adstilts`: one line and an exit code for every error a user can meet.

    Exit codes: 0 done, 1 failed, 2 the user's mistake, 3 done in part (`evaluate`), 130
    interrupted by Ctrl-C.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        app()
    except (UserError, FailureError) as error:
        _fail(error, error.exit_code)
    except KeyboardInterrupt as error:
        _fail(error, 130)
    except BrokenPipeError:
        # The reader of our output left (as `head` does): nothing more to say.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
        sys.exit(0)
    except Exception as error:
        if getattr(error, "exit_code", None) == 130:
            _fail(error, 130)
        _fail(error, 1, prefix=f"unexpected {type(error).__name__} (--debug shows where): ")


def _fail(error: BaseException, code: int, *, prefix: str = "") -> None:
    if os.environ.get("ADSTILTS_DEBUG"):
        traceback.print_exception(error)
    message = printable(" ".join(str(error).split()))[:2000] or type(error).__name__
    typer.echo(f"adstilts: {prefix}{message}", err=True)
    if detail := getattr(error, "detail", ""):
        typer.echo(detail, err=True)
    sys.exit(code)
