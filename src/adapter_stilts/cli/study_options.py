"""Options that mean the same in all commands of the group `study`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from adapter_stilts.study.folder import StudyFolder
    from adapter_stilts.study.graph import Plan

FILE = typer.Argument(help="The study's YAML file; `adstilts study new` writes one.")
OUT = typer.Option(None, "--out", help="Folder of the study [studies-out/NAME].")
DATA = typer.Option(
    None, "--data", help="hub, sample, or a folder with data, in place of the study's own."
)
UNEQUAL = typer.Option(
    False, "--unequal", help="Allow arms with budgets of their own; every table marks them."
)
JSON = typer.Option(False, "--json", help="Print everything as JSON.")


def read_plan(
    file: Path, out: Path | None, data: str | None, *, unequal: bool
) -> tuple[Plan, StudyFolder]:
    """The plan of a study's file, and its folder."""
    from adapter_stilts.study.folder import StudyFolder
    from adapter_stilts.study.plan import make_plan
    from adapter_stilts.study.spec_file import load_study

    spec = load_study(file, unequal=unequal)
    return make_plan(spec, data), StudyFolder(out or Path("studies-out") / spec.name)
