"""What a study's report is made of: its file, which declares the contrasts, and its records."""

from __future__ import annotations

from pathlib import Path

from adapter_stilts.errors import UserError
from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.results import RESULTS
from adapter_stilts.study.spec import ContrastSpec
from adapter_stilts.study.spec_file import load_study
from adapter_stilts.study.study_data import Damaged, StudyData


def read_study(path: Path, folder: Path | None = None) -> tuple[StudyData, list[ContrastSpec]]:
    """A study's records and contrasts. Neither its data nor its backbone need to be here.

    Args:
        path: the study's YAML. Arms of unequal budgets are accepted, and marked by their records.
        folder: where its records lie; else in `studies-out`, or the folder of its name beside it.

    Raises:
        UserError: as of `load_study`; or it declares no contrasts, or there are no records.
    """
    study = load_study(path, unequal=True)
    if not study.contrasts:
        raise UserError(
            f"{path}: no contrasts: add 'contrasts:' with a line "
            "'- {name: best single or fusion, first: singles, second: fusion-full, primary: true}'"
        )
    places = [folder] if folder else [Path("studies-out", study.name), path.with_suffix("")]
    place = next((each for each in places if (each / RESULTS).is_file()), places[-1])
    own = StudyFolder(place)
    if not own.results_file.is_file():
        raise UserError(f"{own.results_file}: no records of this study: name its folder by --out")
    found = own.results()
    damaged = [Damaged(f"{RESULTS}:{line}", why) for line, why in found.damaged.items()]
    results = list(found.runs.values())
    return StudyData(study.name, place, results, damaged, own.planned()), study.contrasts
