"""The command line: parses, calls the public functions, prints. No logic of its own."""

from __future__ import annotations

import errno
import functools
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

import typer

from adapter_stilts.cli import evaluate, info, predict, study, train, zoo
from adapter_stilts.entry import INTERRUPTED
from adapter_stilts.errors import FailureError, UserError, suggest
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
for _file in (info, train, predict, study, evaluate, zoo):
    _file.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version as version_of  # not needed for anything else

        typer.echo(f"adapter-stilts {version_of('adapter-stilts')}")
        raise typer.Exit


@app.callback()
def options(
    debug: bool = typer.Option(False, "--debug", help="Show a traceback when something fails."),
    include: list[str] = typer.Option(
        [],
        "--include",
        metavar="FILE",
        help="Run a plug-in of yours first: Python that registers tasks, metrics, merge methods or "
        "adapter methods. Before or after the command; repeat it. $ADSTILTS_PLUGINS names others.",
    ),
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_version, help="Print the version and end."
    ),
) -> None:
    """Options of every command."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    if debug:
        os.environ["ADSTILTS_DEBUG"] = "1"
    from adapter_stilts import plugins  # not needed for --help

    plugins.load_plugins()
    plugins.include(*include)


def _includes_first(arguments: list[str]) -> list[str]:
    """The arguments with every `--include FILE` before the command, which runs after them."""
    included: list[str] = []
    others: list[str] = []
    left = iter(arguments)
    for argument in left:
        if argument == "--":
            others += [argument, *left]
        elif argument == "--include":
            value = next(left, None)
            if value is None:
                raise UserError("--include needs a value: the file of a plug-in")
            included += [argument, value]
        else:
            (included if argument.startswith("--include=") else others).append(argument)
    return [*included, *others]


@functools.cache
def whole_command() -> Any:
    """`adstilts` with all that is below it, built once: that takes a tenth of a second."""
    return typer.main.get_command(app)


def main() -> None:
    """Entry point of `adstilts`: one line and an exit code for every error a user can meet.

    Exit codes: 0 done, 1 failed, 2 the user's mistake, 3 done in part (`evaluate`), 130
    interrupted by Ctrl-C.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        # Typer's own call of it would end without a word after Ctrl-C.
        arguments = _includes_first(sys.argv[1:])
        with whole_command().make_context("adstilts", arguments) as context:
            context.command.invoke(context)
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except (UserError, FailureError) as error:
        _fail(error, error.exit_code)
    except typer.Abort as error:
        typer.echo(err=True)
        if isinstance(error.__context__, KeyboardInterrupt):
            _fail(error.__context__, 130)
        _fail(UserError("a question had no answer, so nothing was done: --yes answers it"), 2)
    except KeyboardInterrupt as error:
        _fail(error, 130)
    except BrokenPipeError:
        # The reader of our output left (as `head` does): nothing more to say.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
        sys.exit(0)
    except Exception as error:
        _fail_otherwise(error)


_IN_THE_WAY = (errno.EISDIR, errno.EEXIST)
_NOT_WRITABLE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOSPC),
    *_IN_THE_WAY,
)


def _fail_otherwise(error: Exception) -> NoReturn:
    """Ends with what the libraries raise: typer for a mistyped command, the system for files."""
    if getattr(error, "exit_code", None) == 130:
        _fail(error, 130)
    if hasattr(error, "format_message"):
        _fail_usage(error)
    if isinstance(error, OSError) and error.filename and error.errno == errno.ENAMETOOLONG:
        _fail(UserError(f"{str(error.filename)[:40]}…: no file has a name that long"), 2)
    if isinstance(error, OSError) and error.filename and error.errno in _NOT_WRITABLE:
        remedy = "free some space" if error.errno == errno.ENOSPC else "make it writable for you"
        remedy = "move it away" if error.errno in _IN_THE_WAY else remedy
        line = f"{error.filename}: {error.strerror}: {remedy}, or choose another folder"
        _fail(FailureError(line).with_traceback(error.__traceback__), 1)
    _fail(error, 1, prefix=f"unexpected {type(error).__name__} (--debug shows where): ")


def _fail_usage(error: Any) -> NoReturn:
    """Typer's words on a mistyped command, in one line; a command without any shows its help."""
    context = getattr(error, "ctx", None)
    message = " ".join(error.format_message().split()).rstrip(".")
    if context is None or message == " ".join(context.get_help().split()).rstrip("."):
        error.show()
        sys.exit(error.exit_code)
    if mistyped := re.match("No such command '(.+?)'", message):
        meant = _meant(mistyped[1], context)
        message = f"{mistyped[0]}. Did you mean {' or '.join(meant)}?" if meant else mistyped[0]
    _fail(UserError(f"{message} (see `{context.command_path} --help`)"), error.exit_code)


def _meant(name: str, context: Any) -> list[str]:
    """The commands that a mistyped one may stand for, as they are typed in full.

    One of that very name in another group goes before those with a name like it in the group
    that was called, and these before those of other groups.
    """
    root = context.find_root()
    known = list(_commands(root.command, root.command_path))
    here = [each for each in known if each[0] == context.command_path]
    for some, names in (
        (known, [name]),
        (here, suggest(name, (each for _, each in here))),
        (known, suggest(name, (each for _, each in known))),
    ):
        if found := [f"`{group} {each}`" for group, each in some if each in names]:
            return found
    return []


def _commands(group: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every command as the group that it is in, and its name."""
    for name, command in group.commands.items():
        yield path, name
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")


def _fail(error: BaseException, code: int, *, prefix: str = "") -> NoReturn:
    if os.environ.get("ADSTILTS_DEBUG"):
        traceback.print_exception(error)
    message = printable(" ".join(str(error).split()))[:2000] or type(error).__name__
    if isinstance(error, KeyboardInterrupt):
        message = INTERRUPTED
    typer.echo(f"adstilts: {prefix}{message}", err=True)
    if detail := getattr(error, "detail", ""):
        typer.echo(detail, err=True)
    sys.exit(code)
