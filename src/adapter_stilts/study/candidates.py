"""The modules that a recommendation ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adapter_stilts.engine.methods import get_method
from adapter_stilts.errors import UserError
from adapter_stilts.zoo.choice import check_one_backbone
from adapter_stilts.zoo.hub.adopt import is_foreign
from adapter_stilts.zoo.places import has_record
from adapter_stilts.zoo.record import RECORD, ModuleRecord
from adapter_stilts.zoo.resolve import resolve
from adapter_stilts.zoo.resolved_composition import ResolvedComposition
from adapter_stilts.zoo.sources import modules_to_rank


@dataclass(frozen=True)
class Candidate:
    """A composition that a target could be trained on; `given` is what finds it."""

    given: str
    resolved: ResolvedComposition

    @property
    def name(self) -> str:
        """What it is called."""
        return self.resolved.name

    @property
    def task(self) -> str:
        """What its topmost module has learnt."""
        return self.resolved.record.task

    @property
    def method(self) -> str:
        """Of its topmost module; a target's module on top of it is of the same."""
        return self.resolved.record.method


def find_candidates(
    modules: Sequence[str], method: str, backbone: str | None = None
) -> list[Candidate]:
    """The modules that are named, those of folders that are, or one a task of the zoo.

    Args:
        modules: names, compositions, or folders of modules.
        method: of what is taken from the zoo.
        backbone: chooses among modules of one name.

    Raises:
        UserError: there is none, an unknown one, one twice, or of different backbones.
    """
    method = get_method(method).name
    given = [each for text in modules for each in _in_folder(text, method)]
    given = given or list(modules_to_rank(method, backbone))
    found = [Candidate(text, resolve(text, backbone)) for text in given]
    runs: dict[str, str] = {}
    for each in found:
        if runs.setdefault(each.resolved.identity, each.given) != each.given or (
            given.count(each.given) > 1
        ):
            raise UserError(f"'{each.name}' is named twice: name every module once")
    check_one_backbone([(each.name, each.resolved.record.backbone) for each in found])
    return _with_distinct_names(found)


def _with_distinct_names(found: list[Candidate]) -> list[Candidate]:
    names = [each.name for each in found]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        places = [each.given for each in found if each.name == twice]
        raise UserError(f"{' and '.join(places)} are both called '{twice}': name one of them only")
    return found


def _in_folder(text: str, method: str) -> list[str]:
    """The modules of a folder that is none itself; anything else stands for itself."""
    folder = Path(text).expanduser()
    try:
        is_folder = folder.is_dir() and not has_record(folder) and not is_foreign(folder)
    except OSError:  # longer than a file name can be
        is_folder = False
    if not is_folder:
        return [text]
    inside = sorted({*folder.glob(f"*/{RECORD}"), *folder.glob(f"*/*/{RECORD}")})
    places = [path.parent for path in inside if not path.parent.name.startswith(".")]
    found = [str(place) for place in places if ModuleRecord.read(place).method == method]
    if not found:
        raise UserError(
            f"{text}: none of the {len(places)} modules in that folder is of method {method}: see "
            "--method"
        )
    return found
