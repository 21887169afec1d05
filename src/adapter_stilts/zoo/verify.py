"""Whether a module is what it says it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from adapter_stilts.errors import FailureError, RefusedError, UserError
from adapter_stilts.zoo.agreement import check_agreement
from adapter_stilts.zoo.record import RECORD, ModuleRecord

TOLERANCE = 0.1
"""Points in percent by which scores may differ: other processors round otherwise."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; `fine` is None where it could not be."""

    what: str
    fine: bool | None
    detail: str


def verify(
    folder: Path, *, load: bool = True, scores: bool = False, data: str | None = None
) -> list[Check]:
    """Looks at a module: record, hashes, shapes, backbone, scores.

    Args:
        load: put it on its backbone, which is loaded for that, and so compare fingerprints.
        scores: compute its dev scores anew, on the data that is there.
        data: where that is, as for training.
    """
    checks = list(_files(folder))
    if (load or scores) and all(check.fine for check in checks):
        checks += _loaded(folder, scores=scores, data=data)
    return checks


def _files(folder: Path) -> Iterator[Check]:
    try:
        record = ModuleRecord.read(folder)
    except UserError as error:
        yield Check("record", False, str(error))
        return
    yield Check("record", True, f"{record.task or 'no task'}, {record.method}, run {record.run}")
    yield _check(
        "hashes", lambda: record.verify(folder), f"{len(record.files)} files as they were recorded"
    )
    yield _check(
        "shapes",
        lambda: check_agreement(record, folder),
        "weights as recorded and configured, in safetensors",
    )
    others = _unrecorded(folder, record)
    if others:
        yield Check("other files", None, f"not in the record, and never read: {', '.join(others)}")


def _unrecorded(folder: Path, record: ModuleRecord) -> list[str]:
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if name not in record.files and name != RECORD)


def _check(what: str, look: Callable[[], object], detail: str) -> Check:
    try:
        look()
    except UserError as error:
        return Check(what, False, str(error))
    return Check(what, True, detail)


def _loaded(folder: Path, *, scores: bool, data: str | None) -> Iterator[Check]:
    from adapter_stilts.backbones import find_backbone
    from adapter_stilts.zoo.load import load
    from adapter_stilts.zoo.resolve import resolve_folder

    try:
        name = resolve_folder(folder).backbone
        backbone = find_backbone(name)
    except RefusedError as error:
        yield Check("backbone", False, str(error))
        return
    except (UserError, FailureError) as error:
        yield Check("backbone", None, f"not checked: {error}")
        return
    try:
        module = load(folder, backbone=backbone.name, precision="fp32")
    except UserError as error:
        yield Check("backbone", False, str(error))
        return
    known = module.record.backbone.get("fingerprint")
    detail = f"fingerprint {known}" if known else "it has no fingerprint; the shapes fit"
    yield Check("backbone", True, f"{name}, {detail}")
    if scores:
        from adapter_stilts.zoo.scores import check_scores

        yield check_scores(module, data)
