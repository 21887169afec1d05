"""Spoilt modules are refused in one line, or do all that modules do: answer, go abroad, serve."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from adapter_stilts.engine.engine import Engine
from adapter_stilts.errors import FailureError, NotFiniteError, UserError
from adapter_stilts.heads import get_head
from adapter_stilts.safety import printable
from adapter_stilts.serving import pool as shelves
from adapter_stilts.serving.app import create_app
from adapter_stilts.serving.pool import stock
from adapter_stilts.zoo.find import fields, list_modules
from adapter_stilts.zoo.local import load_resolved
from adapter_stilts.zoo.module import Module
from adapter_stilts.zoo.push import FORMATS, export
from adapter_stilts.zoo.record import NO_HEAD, RECORD, ModuleRecord
from adapter_stilts.zoo.resolve import find
from adapter_stilts.zoo.verify import verify
from fuzz_kit import Spoiler, rehash
from fuzz_zoo import make_zoo
from made_modules import make_engine

EMOJI = "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea e\u0301\u200b \U0001f98a"
LONG = "the cat of Rome went home . " * 715
"""5,005 words."""
GOOD = {"module": "good", "question": "Who?", "context": "Ann went to Rome."}


class Grounds:
    """One engine and one zoo, with a module that must answer the same before and after."""

    def __init__(self, backbone: str, kinds: dict[str, Path], root: Path) -> None:
        self.backbone, self.kinds, self.zoo = backbone, kinds, root / "zoo"
        self.folder = self.zoo / "tiny" / "module"
        self.engine: Engine = make_engine(backbone)
        good = next(iter(kinds.values())).parent / "good"
        shutil.copytree(good, self.zoo / "tiny" / "good")
        self.expected = self.good()

    def good(self) -> dict[str, Any]:
        """What the good module says."""
        resolved = find(self.zoo / "tiny" / "good")
        composed = load_resolved(self.engine, resolved)
        module = Module(self.engine, resolved.record, composed.name, composed)
        return module.predict_one({key: GOOD[key] for key in ("question", "context")})

    def clean(self) -> None:
        """Nothing that was loaded stays, and nothing has changed."""
        assert self.good() == self.expected
        if len(self.engine.names) > 1 or len(self.engine.model.adapters_config.adapters) > 1:
            self.engine = make_engine(self.backbone)
            self.good()


@pytest.fixture(scope="module")
def grounds(tiny_xlmr: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    root = tmp_path_factory.mktemp("use")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADSTILTS_ZOO", str(root / "zoo"))
        patch.setenv("ADSTILTS_PULLED", str(root / "pulled"))
        patch.setenv("ADSTILTS_CACHE", str(root / "cache"))
        found = Grounds(str(tiny_xlmr), make_zoo(str(tiny_xlmr), root / "kinds"), root)
        patch.setattr(shelves, "load_engine", lambda *given, **options: found.engine)
        yield found


def inputs(kind: str, choices: int, long: bool) -> list[dict[str, Any]]:
    """Inputs of one word, of none, of 5,000, of signs; with all fields and with few."""
    texts = ["word", "", EMOJI, *([LONG] if long else [])]
    if kind == "choice":
        rows = [{"prompt": each, "options": [each or "x"] * choices} for each in texts]
        return [*rows, {"prompt": "a", "question": "b?", "options": ["", *"cdefgh"][:choices]}]
    if kind == "span":
        pairs = [*(("who?", text) for text in texts), ("", "a b"), (texts[-1], "a b")]
        return [{"question": a, "context": b} for a, b in pairs]
    if kind == "tagging":
        return [{"words": words} for words in (["a"], [], [""], EMOJI.split(), texts[-1].split())]
    (first,) = get_head(kind).needs
    second = "text_b" if kind == "classification" else "context"
    return [{first: text} for text in texts] + [{first: text, second: "b"} for text in texts]


def check(kind: str, row: dict[str, Any], answer: dict[str, Any]) -> None:
    """An answer is strict JSON, and says something about its input."""
    json.dumps(answer, allow_nan=False, ensure_ascii=False).encode("utf-8")
    if kind == "span":
        begin, text = answer["start"], answer["answer"]
        assert row["context"][begin : begin + len(text)] == text or (begin, text) == (-1, "")
    elif kind == "tagging":
        assert [word for word, _ in answer["tags"]] == row["words"]
        assert all(isinstance(tag, str) and tag for _, tag in answer["tags"])
    elif kind == "choice":
        assert row["options"][answer["choice"]] == answer["option"]
        assert math.isclose(sum(answer["probabilities"]), 1, rel_tol=1e-3)
    elif kind == "classification":
        assert math.isclose(sum(answer["labels"].values()), 1, rel_tol=1e-3)
    else:
        assert math.isclose(sum(x * x for x in answer["vector"]), 1, rel_tol=0.02)


def used(grounds: Grounds, long: bool) -> dict[str, str]:
    """All that is done with a folder; what was refused, by what was to be done."""
    folder, refused = grounds.folder, {}

    def attempt(what: str, call: Callable[[], object]) -> None:
        try:
            call()
        except (UserError, FailureError) as error:
            line = str(error)
            assert line and "\n" not in line and printable(line) == line and len(line) < 2000, what
            refused[what] = line

    attempt("predict", lambda: predicted(grounds, long))
    if (folder / RECORD).is_file():
        for library in FORMATS:
            out = folder.parent.parent.parent / "out"
            attempt(library, lambda: exported(folder, out, library))  # noqa: B023
        verify(folder, load=False)
        json.dumps([fields(entry) for entry in list_modules()], allow_nan=False)
    served(grounds, answers="predict" not in refused, long=long)
    return refused


def exported(folder: Path, out: Path, library: str) -> None:
    plain = None if library != "module" else "tiny/plain"
    made = export(folder, out, library=library, backbone=plain, overwrite=True)
    if library == "module":
        record = ModuleRecord.read(made)
        record.verify(made)
        card = (made / "README.md").read_text("utf-8")
        assert "<script" not in card and "\x1b" not in card


def modules(grounds: Grounds) -> Iterator[Module]:
    """The module with each of its heads."""
    whole = find(str(grounds.folder))
    for task in (*whole.record.heads,) or (None,):
        resolved = whole.choosing(task)
        composed = load_resolved(grounds.engine, resolved)
        yield Module(grounds.engine, resolved.record, composed.name, composed)


def predicted(grounds: Grounds, long: bool) -> None:
    for module in modules(grounds):
        if module.record.head == NO_HEAD:
            assert all(map(math.isfinite, module.embed(["a", "", LONG]).reshape(-1).tolist()))
            continue
        with raised_only_as_not_finite():
            rows = inputs(module.kind, module.choices, long)
            for row, answer in zip(rows, module.predict_rows(rows), strict=True):
                check(module.kind, row, answer)


@contextmanager
def raised_only_as_not_finite() -> Iterator[None]:
    """What was loaded answers; only that its values are no numbers may turn out so late."""
    try:
        yield
    except NotFiniteError:
        raise
    except (UserError, FailureError) as error:
        raise AssertionError(f"loaded, and then refused: {error}") from error


def served(grounds: Grounds, *, answers: bool, long: bool) -> None:
    """The same through the service, where the good module answers whatever lies beside it."""
    # What has no record is no module of the zoo, and is served where it is named.
    named = [] if (grounds.folder / RECORD).is_file() or not answers else [str(grounds.folder)]
    pool = stock(named, backbone=grounds.backbone, zoo=True, most=9, precision="fp32")
    with TestClient(create_app(pool, gather=0), raise_server_exceptions=False) as client:
        listed = client.get("/modules")
        assert listed.status_code == 200
        for about in listed.json()["modules"]:
            if about["name"] == "good":
                continue
            rows = inputs(about["kind"], about["choices"], long=False)
            asked = [{"module": about["name"], **row} for row in rows]
            response = client.post("/predict/batch", json={"inputs": [GOOD, *asked]})
            if answers:
                assert response.status_code == 200, response.text
                for row, found in zip(rows, response.json()["answers"][1:], strict=True):
                    check(about["kind"], row, found["answer"])
            else:
                assert response.status_code in (200, 422, 500)
                said = "" if response.status_code == 200 else response.json()["error"]
                assert "its log says how" not in said and "\n" not in said
            if long and answers:
                last = inputs(about["kind"], about["choices"], long=True)[-1]
                status = client.post("/predict", json={"module": about["name"], **last}).status_code
                assert status in (200, 413)
        assert client.post("/predict", json=GOOD).json()["answer"] == pytest.approx(
            grounds.expected, abs=1e-3
        )


def attack(grounds: Grounds, seed: int) -> str:
    """Spoils a module as the seed has it and uses it; what was done, and what came of it."""
    chance = random.Random(seed)
    kind = chance.choice(sorted(grounds.kinds))
    shutil.rmtree(grounds.folder, ignore_errors=True)
    shutil.copytree(grounds.kinds[kind], grounds.folder)
    spoiler = Spoiler(grounds.folder, chance)
    done = [spoiler.spoil() for _ in range(chance.choice((1, 1, 1, 2, 3)))]
    if chance.random() < 0.85:
        rehash(grounds.folder)
    told = f"seed {seed}, {kind}: {'; '.join(done)}"
    try:
        refused = used(grounds, long=chance.random() < 0.2)
        grounds.clean()
    except BaseException as error:
        error.add_note(told)
        grounds.engine = make_engine(grounds.backbone)
        raise
    return f"{told} -> {refused or 'used'}"


def test_untouched_modules_are_used(grounds: Grounds) -> None:
    """The fuzzing would be blind if everything were refused anyway."""
    for number, (name, source) in enumerate(grounds.kinds.items()):
        shutil.rmtree(grounds.folder, ignore_errors=True)
        shutil.copytree(source, grounds.folder)
        refused = used(grounds, long=number % 3 == 0)
        grounds.clean()
        assert "predict" not in refused and "module" not in refused, (name, refused)


def test_spoilt_modules(grounds: Grounds) -> None:
    for seed in range(16):
        attack(grounds, seed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(1000, 2000, 250))
def test_a_thousand_spoilt_modules(grounds: Grounds, first: int) -> None:
    for seed in range(first, first + 250):
        attack(grounds, seed)
