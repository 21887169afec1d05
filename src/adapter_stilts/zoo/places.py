"""Where modules lie: the user's zoo, shared zoos, and what was pulled from the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adapter_stilts.errors import UserError
from adapter_stilts.paths import pulled_dir, shared_zoos, zoo_dir
from adapter_stilts.zoo.record import RECORD, ModuleRecord

Place = Literal["zoo", "shared", "hub"]


@dataclass(frozen=True)
class Found:
    """A folder with a record, which may be unreadable."""

    place: Place
    folder: Path

    @property
    def name(self) -> str:
        """What finds it: `embedded/squad` in a zoo, `someone/xlmr-squad` from the Hub."""
        if self.place == "hub":
            return self.folder.parent.name.replace("--", "/", 1)
        return f"{self.folder.parent.name}/{self.folder.name}"

    def record(self) -> ModuleRecord | None:
        """What it says of itself, if that can be read."""
        try:
            return ModuleRecord.read(self.folder)
        except UserError:
            return None


def has_record(folder: Path) -> bool:
    """Whether a module lies there, whatever text the path was made of."""
    try:
        return (folder / RECORD).is_file()
    except OSError:  # longer than a file name can be
        return False


def found_modules() -> Iterator[Found]:
    """Every module, those of the user's zoo first, then the shared and the pulled ones."""
    for folder in _below(zoo_dir()):
        yield Found("zoo", folder)
    for zoo in shared_zoos():
        if zoo.resolve() != zoo_dir().resolve():
            for folder in _below(zoo):
                yield Found("shared", folder)
    for folder in _below(pulled_dir()):
        yield Found("hub", folder)


def _below(zoo: Path) -> list[Path]:
    """Folders of two levels; what is being written has a name that begins with a dot."""
    return [
        path.parent
        for path in sorted(zoo.glob(f"*/*/{RECORD}"))
        if not path.parent.name.startswith(".")
    ]


def by_name(name: str) -> list[Found]:
    """The modules of a name (`squad`, `embedded/squad`), those of the user's zoo first."""
    return [
        found
        for found in found_modules()
        if found.place != "hub" and name in (found.folder.name, found.name)
    ]


def readable() -> Iterator[tuple[Found, ModuleRecord]]:
    """Every module that can be read; the same run in a second place is passed over."""
    seen: dict[str, Place] = {}
    for found in found_modules():
        record = found.record()
        if record and seen.setdefault(record.run, found.place) == found.place:
            yield found, record
