"""Predictions in XTREME's submission format: names, lines, and the folder that holds them.

One label a line, as XTREME's own files call it (PAWS-X: 0 or 1); one tag a line and an empty line
after every sentence; options as XTREME-R has them, `{"label": 1}`; answers by the question's id
(`Head.written`). Every language has a file, and `evaluation.json` says what they are. The folder
can be handed to XTREME's evaluation code as it is. Every file appears whole or not at all, so that
a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from adapter_stilts import paths
from adapter_stilts.environment import machine, versions
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.hashing import file_sha256
from adapter_stilts.heads import get_head
from adapter_stilts.paths import check_writable, from_here
from adapter_stilts.safety import Shape, check_shape, json_text
from adapter_stilts.tasks.spec import Split, TargetSpec
from adapter_stilts.zoo.choice import same_backbone


def slug(expression: str) -> str:
    """A composition as the name of a folder.

    >>> slug("stack(squad, tydiqa)")
    'stack-squad-tydiqa'
    """
    return re.sub(r"[^\w.+]+", "-", expression).strip("-.") or "composition"


def folder_name(target: TargetSpec) -> str:
    """The target's folder in a submission to XTREME."""
    return target.submission or target.name


def suffix(target: TargetSpec) -> str:
    """The ending of the target's prediction files, as XTREME's `evaluate.py` expects it."""
    if target.retrieval is not None and target.retrieval.search == "ranking":
        return "json"
    return get_head(target.head).suffix


def items_path(predictions: Path) -> Path:
    """Where the scores of the single items of a file of predictions lie."""
    return predictions.with_name(f"{predictions.name}.items.parquet")


def format_predictions(target: TargetSpec, result: LanguageResult) -> str:
    """The content of a prediction file."""
    if suffix(target) == "json":
        return "{\n" + ",\n".join(result.predictions) + "\n}\n"
    return "".join(f"{line}\n" for line in result.predictions)


def write_whole(path: Path, content: str) -> None:
    """Writes a file that appears whole or not at all, or says why it cannot (FailureError)."""
    try:
        paths.write_whole(path, content)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> FailureError:
    """What to tell the user when a file cannot be written."""
    return FailureError(
        f"cannot write {path} ({error.strerror or error}): free some space or choose another "
        "--out; what is written is kept"
    )


@dataclass(frozen=True)
class LanguageResult:
    """Scores in percent (none where the data has no labels), and what was predicted.

    `predictions` are the lines of the file that XTREME's evaluation code reads; for a JSON
    object, its members. `seconds` are those spent on this language. `details` are worth keeping
    beside the scores: the layer of sentence vectors, a threshold that was fitted.
    """

    scores: dict[str, float]
    predictions: list[str]
    labelled: bool
    seconds: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)


RECORD = "evaluation.json"
FORMAT = 1

Entry = dict[str, Any]
"""What `evaluation.json` says of one task, split and language."""


class _Composition(Shape):
    expression: str
    identity: str


class _Record(Shape):
    """The shape of `evaluation.json`."""

    composition: _Composition
    backbone: dict[str, Any]
    sessions: list[Any]
    results: dict[str, dict[str, dict[str, Entry]]]


@dataclass
class Store:
    """The predictions of one composition on one backbone.

    With `flat` the folder is one task's own, in a larger one.
    """

    folder: Path
    expression: str
    identity: str
    backbone: Mapping[str, str]
    flat: bool = False
    _claimed: bool = field(default=False, init=False)
    _session: dict[str, Any] | None = field(default=None, init=False)

    def check(self, *, overwrite: bool) -> None:
        """Looks whether the folder is free or this composition's already; changes nothing.

        Without `overwrite` it refuses one with another composition's predictions, or something
        else.
        """
        if not self.folder.is_dir():
            check_writable(self.folder)
        try:
            known = self._read() if (self.folder / RECORD).is_file() else None
        except UserError:
            if not overwrite:
                raise
            return
        self._claimed = known is not None and self._is_ours(known)
        if overwrite or self._claimed:
            return
        if known is not None:
            raise self._folder_error(known)
        if self.folder.is_dir() and any(
            not each.name.startswith(".") for each in self.folder.iterdir()
        ):
            raise UserError(f"{from_here(self.folder)} is not empty: choose another --out")

    def _folder_error(self, known: Mapping[str, Any]) -> UserError:
        other = known["composition"]["expression"]
        same = other == self.expression
        which = f"'{other}', trained otherwise or on another backbone," if same else f"'{other}'"
        return UserError(
            f"the predictions of {which} lie in {from_here(self.folder)}: choose another --out, "
            "or add --overwrite to replace them"
        )

    def _claim(self) -> None:
        """Makes the folder this composition's: another one's predictions are removed."""
        if self._claimed:
            return
        with contextlib.suppress(UserError):  # of a record that is damaged, or not there
            known = self._read()
            self._claimed = self._is_ours(known)  # another process may have been faster
            for name in () if self._claimed else _files(known):
                (self.folder / name).unlink(missing_ok=True)
                items_path(self.folder / name).unlink(missing_ok=True)
        if not self._claimed:
            about = {"expression": self.expression, "identity": self.identity}
            fields = {"format": FORMAT, "composition": about, "backbone": dict(self.backbone)}
            self._write({**fields, "sessions": [], "results": {}})
            self._claimed = True

    def place(self, target: TargetSpec) -> Path:
        """The folder of the target's files, which is this composition's from now on."""
        with self._lock():
            self._claim()
        return self.path_of(target)

    def path_of(self, target: TargetSpec) -> Path:
        """Where the target's files lie or would lie; nothing is claimed."""
        return self.folder if self.flat else self.folder / folder_name(target)

    @property
    def fingerprint(self) -> str:
        """The backbone's, as far as its modules know it."""
        return str(self.backbone.get("fingerprint", ""))

    def finished_entry(
        self, task: str, split: Split, language: str, data: str, settings: Mapping[str, Any]
    ) -> Entry | None:
        """The entry of predictions that are there, whole, of the same `data` and `settings`."""
        entry = self.entry(task, split, language)
        if entry is None or entry.get("data") != data or entry.get("settings") != dict(settings):
            return None
        path = self.folder / str(entry.get("file"))
        return entry if path.is_file() and file_sha256(path) == entry.get("sha256") else None

    def entry(self, task: str, split: Split, language: str) -> Entry | None:
        """What was recorded of a language, if anything."""
        if not self._claimed:
            return None
        found: Entry | None = self._read()["results"].get(task, {}).get(split, {}).get(language)
        return found

    def save(
        self,
        target: TargetSpec,
        split: Split,
        language: str,
        result: LanguageResult,
        about: Mapping[str, Any],
    ) -> Entry:
        """Writes a language's predictions, then their entry, with data, settings and examples."""
        name = f"{split}-{language}.{suffix(target)}"
        name = name if self.flat else f"{folder_name(target)}/{name}"
        path = self.folder / name
        # Another process may be at another task of the same folder.
        with self._lock():
            self._claim()
            write_whole(path, format_predictions(target, result))
            entry = {
                "file": name,
                "sha256": file_sha256(path),
                **about,
                "labelled": result.labelled,
                "scores": result.scores,
                **({"details": result.details} if result.details else {}),
                "seconds": round(result.seconds, 3),
            }
            record = self._read()
            entry["session"] = self._join(record["sessions"])
            splits = record["results"].setdefault(target.name, {})
            splits.setdefault(split, {})[language] = entry
            self._write(record)
        return entry

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        lock = FileLock(self.folder / f".{RECORD}.lock")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError as error:
            raise unwritable(self.folder, error) from error
        try:
            yield
        finally:
            lock.release()

    def _join(self, sessions: list[dict[str, Any]]) -> int:
        """The number of this process among those that wrote here."""
        if self._session is None:
            began = datetime.now(UTC).isoformat(timespec="microseconds")
            self._session = {"began": began, "machine": machine(), "versions": versions()}
        if self._session not in sessions:
            sessions.append(self._session)
        return sessions.index(self._session)

    def _is_ours(self, known: Mapping[str, Any]) -> bool:
        own = known["composition"]["identity"] == self.identity
        return bool(own and same_backbone(known["backbone"], self.backbone))

    def _read(self) -> dict[str, Any]:
        path = self.folder / RECORD
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            check_shape(_Record, record, path)
        except (OSError, ValueError, RecursionError, UserError) as error:
            raise UserError(
                f"{path} is damaged: choose another --out, or add --overwrite"
            ) from error
        if record.get("format") != FORMAT:
            raise UserError(
                f"{path}: written in format {record.get('format')}, this version reads {FORMAT}: "
                "choose another --out"
            )
        return dict(record)

    def _write(self, record: Mapping[str, Any]) -> None:
        write_whole(self.folder / RECORD, json_text(record))


def _files(record: Mapping[str, Any]) -> list[str]:
    """The prediction files of a record; none that would lie outside its folder."""
    names = (
        str(entry.get("file"))
        for splits in record["results"].values()
        for languages in splits.values()
        for entry in languages.values()
    )
    return [name for name in names if ".." not in Path(name).parts and not Path(name).is_absolute()]
