"""What modules are called: their folders here, and their repositories on the Hub."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from huggingface_hub import constants

from adapter_stilts.engine.composition import Call, build_stack, canonical, parse
from adapter_stilts.engine.methods import is_fusion
from adapter_stilts.errors import UserError
from adapter_stilts.paths import pulled_dir
from adapter_stilts.zoo.record import ModuleRecord

_SEED = r"[1-9][0-9]{0,9}"
"""A seed as it is written at the end of a name; seed 0 is not."""
LARGEST_SEED = 2**32 - 1
ALL_SEEDS = "-s*"
"""The end of a name that stands for every seed of a module: `squad-s*`."""


def folder_name(name: str, base: str = "") -> str:
    """The folder of a module of seed 0: `tydiqa-on-squad` for `stack(squad, tydiqa)`.

    The seed of a module below is written `_s1` there, as `-s1` at the end is the module's own:

    >>> folder_name("tydiqa", "squad-s1")
    'tydiqa-on-squad_s1'
    """
    if not base:
        return name
    plain = re.sub(r"[^A-Za-z0-9_.+-]+", "-", re.sub(rf"-s({_SEED})\b", r"_s\1", base)).strip("-")
    return f"{name}-on-{plain}"


def with_seed(name: str, seed: int) -> str:
    """The name with its seed; seed 0 has the plain name.

    >>> with_seed("squad", 0), with_seed("squad", 2)
    ('squad', 'squad-s2')
    """
    return f"{name}-s{seed}" if seed else name


def without_seed(name: str) -> tuple[str, int]:
    """A name apart from its seed, if it ends as `with_seed` writes one.

    >>> without_seed("squad-s2"), without_seed("squad-s02")
    (('squad', 2), ('squad-s02', 0))
    """
    found = re.fullmatch(rf"(.+)-s({_SEED})", name)
    if found is None or int(found[2]) > LARGEST_SEED:
        return name, 0
    return found[1], int(found[2])


def series_folders(folder: Path, seed: int, seeds: Iterable[int]) -> list[Path]:
    """The folders of the same module with other seeds, beside that of one seed."""
    name = series_name(folder, seed)
    return [folder.with_name(with_seed(name, each)) for each in seeds]


def series_name(folder: Path, seed: int) -> str:
    """The name of a module's folder without the seed that the module is known to have."""
    return folder.name.removesuffix(f"-s{seed}") if seed else folder.name


def usual_folder(record: ModuleRecord) -> str:
    """The folder in which a module lies where nobody chose another, of seed 0."""
    try:
        return folder_name(record.name, below(record))
    except UserError:  # a composition that cannot be read: loading says so
        return record.name


def below(record: ModuleRecord) -> str:
    """What a module was trained on top of, or fuses; an empty text where it stands alone."""
    if is_fusion(record.method):
        return record.composition
    expression = parse(record.composition)
    if not record.bases or not isinstance(expression, Call) or expression.operator != "stack":
        return ""
    return canonical(build_stack(*expression.parts[:-1]))


_PLAIN = re.compile(r"[A-Za-z0-9_.+-]+")


def plain_name(folder: Path) -> str:
    """The folder's name where it can stand in a composition, else an empty text."""
    own = folder.resolve().name if folder.name in ("", "..") else folder.name
    return own if _PLAIN.fullmatch(own) else ""


STARRED = re.compile(r"([^\s(),*\"]+)-s\*")
"""A name in a composition that stands for every seed of a module."""


_PART = r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9_])?"
_ID = re.compile(rf"(?P<repo>{_PART}/{_PART})(?:@(?P<revision>[\w.][\w./-]*))?", re.ASCII)


@dataclass(frozen=True)
class HubId:
    """A repository at a revision (a branch, a tag or a commit)."""

    repo: str
    revision: str = constants.DEFAULT_REVISION

    @classmethod
    def parse(cls, text: str) -> HubId:
        """What a person typed.

        Raises:
            UserError: it is no id.
        """
        found = _ID.fullmatch(text)
        if found is None or ".." in text or "--" in found["repo"]:
            raise UserError(
                f"'{text}' is no id of the Hub: ids look like someone/xlmr-large-squad, with "
                "@revision if need be"
            )
        return cls(found["repo"], found["revision"] or constants.DEFAULT_REVISION)

    @property
    def folder(self) -> Path:
        """Where its commits lie."""
        return pulled_dir() / self.repo.replace("/", "--")

    @property
    def note(self) -> Path:
        """The file with the commit that the revision was when it was last asked for."""
        return self.folder / ".refs" / quote(self.revision, safe="")


def is_hub_id(text: str) -> bool:
    """Whether a text may be the id of a module on the Hub."""
    try:
        HubId.parse(text)
    except UserError:
        return False
    return True
