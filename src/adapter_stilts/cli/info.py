"""`adstilts tasks` and `adstilts doctor`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import typer

from adapter_stilts.cli.show import print_table
from adapter_stilts.cli.training_options import DATA


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("tasks")(tasks)
    app.command("doctor")(doctor)


def tasks(
    data: str | None = DATA,
    as_json: bool = typer.Option(False, "--json", help="Print as JSON."),
) -> None:
    """List the tasks, and whether their data is here."""
    from adapter_stilts.data.load import check_where

    check_where(data)
    listed = [*_intermediate(data), *_targets(data)]
    if as_json:
        typer.echo(json.dumps(listed, ensure_ascii=False, indent=1))
        return
    columns = ("task", "kind", "head", "metric", "train", "dev", "languages", "suites", "licence")
    print_table(
        (*columns, "data"),
        [
            (
                str(row["name"]),
                *(_cell(row.get(column)) for column in columns[1:]),
                f"{'found' if row['found'] else 'not found'}: {row['data']}",
            )
            for row in listed
        ],
    )


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:,}" if isinstance(value, int) else str(value or "")


def _intermediate(data: str | None) -> Iterator[dict[str, Any]]:
    from adapter_stilts.data import data_status
    from adapter_stilts.tasks.registry import intermediate_tasks

    for task in intermediate_tasks().values():
        status = data_status(task, data)
        yield {
            "name": task.name,
            "kind": "intermediate",
            "head": task.head,
            "metric": task.metric,
            "train": task.sizes["train"],
            "dev": task.sizes["dev"],
            "languages": 1,
            "suites": [],
            "licence": task.licence,
            "found": status.found,
            "data": status.detail,
            "aliases": list(task.aliases),
        }


def _targets(data: str | None) -> Iterator[dict[str, Any]]:
    from adapter_stilts.data import target_status
    from adapter_stilts.tasks.registry import target_tasks

    for task in target_tasks().values():
        status = target_status(task, data)
        yield {
            "name": task.name,
            "kind": "target",
            "head": task.head,
            "metric": task.metric,
            "languages": len(task.languages),
            "suites": list(task.suites),
            "licence": task.licence,
            "found": status.found,
            "data": status.detail,
            "aliases": list(task.aliases),
        }


def doctor(as_json: bool = typer.Option(False, "--json", help="Print as JSON.")) -> None:
    """Show what this machine offers: versions, device, precision, Hub, data, disk."""
    from adapter_stilts.diagnosis import diagnose

    found = diagnose()
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    print_table(("what", "found"), [(key, value) for key, value in found.items()])
