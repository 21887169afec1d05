"""The cache of features: hits, keys, damage, two processes at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest
from tokenizers import normalizers

from adapter_stilts import features as made
from adapter_stilts.backbones import find_backbone
from adapter_stilts.features import build_features
from adapter_stilts.heads import classification
from adapter_stilts.heads.base import Encoding
from process_kit import begin, end

ROWS: dict[str, list[Any]] = {
    "id": [str(n) for n in range(700)],
    "text_a": [f"Sentence {n} is here." for n in range(700)],
    "text_b": [f"So is {n}." for n in range(700)],
    "label": [n % 3 for n in range(700)],
}


pytestmark = pytest.mark.usefixtures("features_cache")


@pytest.fixture
def examples() -> Any:
    """More examples than are encoded at a time."""
    return datasets.Dataset.from_dict(ROWS)


def make(examples: Any, tokenizer: Any, fingerprint: str = "f", **options: Any) -> Any:
    chosen = {"max_length": 32, **options}
    return build_features("classification", examples, fingerprint, Encoding(tokenizer, **chosen))


def folders(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


def test_features_of_all_examples_in_order(examples: Any, tiny_tokenizer: Any) -> None:
    found = make(examples, tiny_tokenizer)
    assert found["example"][:] == list(range(700))
    assert found["labels"][:] == ROWS["label"]
    for row in (0, 511, 512, 699):
        ids = tiny_tokenizer(ROWS["text_a"][row], ROWS["text_b"][row])["input_ids"]
        assert found[row]["input_ids"] == ids


def test_second_call_reads_the_cache(
    examples: Any, tiny_tokenizer: Any, features_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make(examples, tiny_tokenizer).to_dict()
    calls: list[Any] = []
    monkeypatch.setattr(type(classification.HEAD), "encode", lambda *a, **k: calls.append(a))
    second = make(examples, tiny_tokenizer)
    assert not calls
    assert second.to_dict() == first
    assert len(folders(features_cache)) == 1


def test_use_of_the_tokenizer_in_between_changes_no_key(
    examples: Any, tiny_tokenizer: Any, features_cache: Path
) -> None:
    tiny_tokenizer("x")
    make(examples, tiny_tokenizer)
    tiny_tokenizer(["a b", "c"], truncation=True, max_length=7, padding="max_length")
    make(examples, tiny_tokenizer)
    assert len(folders(features_cache)) == 1


def test_key_changes_with_what_decides_the_features(
    examples: Any, tiny_tokenizer: Any, embedded_tokenizer: Any, features_cache: Path
) -> None:
    few = examples.select(range(3))
    make(few, tiny_tokenizer)
    make(few, tiny_tokenizer, max_length=31)
    make(few, tiny_tokenizer, fingerprint="g")
    make(few, tiny_tokenizer, stride=5)
    make(few, tiny_tokenizer, tags=["A"])
    make(few, embedded_tokenizer)
    assert len(folders(features_cache)) == 6


def test_key_changes_with_the_code(
    examples: Any, tiny_tokenizer: Any, features_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = examples.select(range(3))
    make(few, tiny_tokenizer)
    monkeypatch.setattr(made, "_CODE", "other code")
    make(few, tiny_tokenizer)
    assert len(folders(features_cache)) == 2


def test_key_changes_with_the_content_of_the_tokenizer(
    examples: Any, tiny_xlmr: Path, features_cache: Path
) -> None:
    """Also with what has no part in the number of its pieces, and within one process."""
    tokenizer = find_backbone(str(tiny_xlmr)).tokenizer
    few = examples.select(range(3))
    first = make(few, tokenizer).to_dict()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("S", "t")
    assert make(few, tokenizer).to_dict() != first
    tokenizer.truncation_side = "left"
    make(few, tokenizer)
    assert len(folders(features_cache)) == 3


@pytest.mark.parametrize("kept", [0.0, 0.2, 0.5, 0.9, "whole batches"])
def test_damaged_cache_is_made_again(
    kept: Any, examples: Any, tiny_tokenizer: Any, features_cache: Path
) -> None:
    first = make(examples, tiny_tokenizer).to_dict()
    (path,) = features_cache.glob("*/features.arrow")
    content = path.read_bytes()
    if kept == "whole batches":
        few = make(examples.select(range(512)), tiny_tokenizer, fingerprint="few")
        cut = Path(few.cache_files[0]["filename"]).stat().st_size - 8  # without the end mark
        assert content[: cut - 8] == Path(few.cache_files[0]["filename"]).read_bytes()[: cut - 8]
    else:
        cut = int(len(content) * kept)
    path.unlink()  # the old one is still mapped
    path.write_bytes(content[:cut])
    assert make(examples, tiny_tokenizer).to_dict() == first
    assert path.read_bytes() == content


def build_many(backbone: str) -> None:
    """Makes the features of two thousand examples, or takes those that another has made."""
    rows = {"text_a": [f"Sentence {n}." for n in range(2000)], "text_b": [""] * 2000}
    tokenizer = find_backbone(backbone).tokenizer
    found = build_features(
        "classification", datasets.Dataset.from_dict(rows), "f", Encoding(tokenizer, 32)
    )
    assert len(found) == 2000 and found[1999]["example"] == 1999


def test_two_processes_at_once(tiny_xlmr: Path, features_cache: Path) -> None:
    both = [begin(build_many, str(tiny_xlmr)) for _ in range(2)]
    assert [end(process) for process in both] == [0, 0]
    assert len(folders(features_cache)) == 1  # and no unfinished ones beside it
