"""A README for a folder of modules, made of their records alone."""

from __future__ import annotations

from pathlib import Path

from adapter_stilts.engine.methods import is_fusion
from adapter_stilts.engine.native import is_halved
from adapter_stilts.errors import UserError
from adapter_stilts.zoo.card import escaped
from adapter_stilts.zoo.card_command import command_text
from adapter_stilts.zoo.choice import Found
from adapter_stilts.zoo.inventory import Entry
from adapter_stilts.zoo.known_task import chance_note, tasks_of
from adapter_stilts.zoo.record import RECIPE, RECORD, ModuleRecord

_COLUMNS = (
    "module",
    "task",
    "method",
    "dev score",
    "in full precision",
    "trained on",
    "dev",
    "MB",
    "licence of the data",
)


def zoo_readme(folder: Path) -> str:
    """What is in a folder of modules, one table for every backbone.

    Raises:
        UserError: it holds no modules, or one that cannot be read.
    """
    found: dict[str, list[Entry]] = {}
    for path in sorted(folder.glob(f"*/*/{RECORD}")):
        record = escaped(ModuleRecord.read(path.parent))
        entry = Entry(Found("shared", path.parent), record)
        found.setdefault(record.backbone["name"], []).append(entry)
    if not found:
        raise UserError(f"no modules in {folder}: they lie in {folder}/BACKBONE/NAME")
    total = sum(entry.size for entries in found.values() for entry in entries)
    parts = [
        "# Modules to start from\n\n"
        f"{sum(map(len, found.values()))} trained modules, {total / 1e6:.1f} MB, with their cards. "
        f"Made by `adstilts zoo readme {folder.name}` from their records.\n\n"
        "Modules are named by their folder wherever one is named (`--with squad`, `--on squad`); "
        "`adstilts zoo\nshow NAME` prints a card, `adstilts zoo verify NAME --scores --data "
        "FOLDER` computes the scores anew.\nThe encoder below them never changes: what is learnt "
        "in one language works in its others, less well.\n"
    ]
    parts += [_backbone(name, sorted(entries, key=_order)) for name, entries in found.items()]
    if (folder / "recipes").is_dir():
        parts.append(
            "## The same for a larger backbone\n\n[recipes/](recipes) has the commands, one by "
            "one.\n"
        )
    return "\n".join(parts)


def _record(entry: Entry) -> ModuleRecord:
    assert entry.record
    return entry.record


def _order(entry: Entry) -> tuple[bool, bool, str, str]:
    """Modules of one task by method, then those of several, then fusions."""
    record = _record(entry)
    return is_fusion(record.method), bool(record.heads), record.method, entry.found.folder.name


def _backbone(name: str, entries: list[Entry]) -> str:
    rows = "\n".join(_row(_cells(entry)) for entry in entries)
    commands = "\n".join(
        f"- `{entry.found.folder.name}`: `{command}`"
        for entry in entries
        if (command := command_text(_record(entry), _recipe(entry.found.folder)))
    )
    return (
        f"## On the backbone `{name}`\n\n"
        "Dev scores in percent, of the weights as they are stored here; where these are in half\n"
        "precision, the score before stands beside. `(chance)`: within two standard errors of the\n"
        "most frequent answer; such a module is not expected to be of use.\n\n"
        f"{_row(_COLUMNS)}\n{'|---' * len(_COLUMNS)}|\n{rows}\n\n"
        "Each of them is made again, at full precision, by one command, here in this folder:\n\n"
        f"{commands}\n"
    )


def _recipe(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}/{RECIPE}"


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(entry: Entry) -> tuple[str, ...]:
    record, folder = _record(entry), entry.found.folder
    train, dev = record.data["train"], record.data["dev"]
    halved = is_halved(folder.rglob("*.safetensors"))
    return (
        f"[{folder.name}]({folder.parent.name}/{folder.name}/README.md)",
        f"{len(record.heads)} tasks" if record.heads else tasks_of(record)[0].title,
        record.method,
        _score(record.scores) + chance_note(record),
        _score(record.full_precision) if halved else "stored so",
        f"{train['examples']:,} {record.data.get('language') or 'en'}",
        f"{dev['examples']:,}",
        f"{entry.size / 1e6:.1f}",
        "those of its tasks" if record.heads else entry.licence,
    )


def _score(scores: dict[str, float]) -> str:
    """The score that counts."""
    return next((f"{metric} {value:.1f}" for metric, value in scores.items()), "")
