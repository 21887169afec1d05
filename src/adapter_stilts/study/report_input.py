"""What a study's report is made of: its file, which declares the contrasts, and its records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from adapter_stilts.errors import UserError
from adapter_stilts.safety import brief
from adapter_stilts.schema import check_shape
from adapter_stilts.study.findings import ContrastSpec
from adapter_stilts.study.results import RESULTS, read_results
from adapter_stilts.study.study_data import Damaged, StudyData


def read_contrasts(path: Path) -> list[ContrastSpec]:
    """Those that a study's YAML declares under `contrasts`.

    Raises:
        UserError: there is no such file, it is no YAML, or declares none.
    """
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({brief(str(error))})") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: no YAML ({brief(' '.join(str(error).split()))})") from error
    declared = content.get("contrasts") if isinstance(content, dict) else None
    if not isinstance(declared, list) or not declared:
        raise UserError(
            f"{path}: no contrasts: add 'contrasts:' with a line "
            "'- {name: best single or fusion, first: single, second: fusion, primary: true}'"
        )
    return [
        check_shape(ContrastSpec, each, f"{path}: contrast {number}")
        for number, each in enumerate(declared, 1)
    ]


def read_study(path: Path, folder: Path | None = None) -> tuple[StudyData, list[ContrastSpec]]:
    """A study's records and contrasts.

    Args:
        path: the study's YAML.
        folder: where its records lie; else the folder of its name beside it, or in `studies-out`.

    Raises:
        UserError: as of `read_contrasts`; or there are no records.
    """
    contrasts = read_contrasts(path)
    beside = path.with_suffix("")
    place = folder or (beside if beside.is_dir() else Path("studies-out", path.stem))
    if not (place / RESULTS).is_file():
        raise UserError(f"{place / RESULTS}: no records of this study: name their --folder")
    found = read_results(place / RESULTS)
    damaged = [Damaged(f"{RESULTS}:{line}", why) for line, why in found.damaged.items()]
    return StudyData(path.stem, place, list(found.runs.values()), damaged), contrasts
