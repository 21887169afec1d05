"""Tokenizers: built by a closed list of classes from files in which nothing strange was found."""

from __future__ import annotations

import base64
import json
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, BertTokenizerFast, RobertaTokenizerFast

from adapter_stilts.backbones import find_backbone
from adapter_stilts.errors import RefusedError

TEXTS = ("Ann and  Bob went to Rome.", " Ünïcode, 한국어 and <mask>!", "a" * 300, "")


@pytest.fixture
def copy(tiny_xlmr: Path, tmp_path: Path) -> Path:
    """The tiny XLM-R, to be spoilt."""
    return Path(shutil.copytree(tiny_xlmr, tmp_path / "copy"))


def change(folder: Path, name: str, edit: Callable[[dict[str, Any]], None]) -> None:
    path = folder / name
    content = json.loads(path.read_text()) if path.exists() else {}
    edit(content)
    path.write_text(json.dumps(content))


def refusal(folder: Path) -> str:
    """The one line."""
    with pytest.raises(RefusedError) as caught:
        _ = find_backbone(str(folder)).tokenizer
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The same as the library's own


def assert_same(folder: Path) -> None:
    """Ours is token for token, offset for offset what `AutoTokenizer` gives."""
    ours, theirs = find_backbone(str(folder)).tokenizer, AutoTokenizer.from_pretrained(folder)
    assert type(ours) is type(theirs)
    assert ours.backend_tokenizer.to_str() == theirs.backend_tokenizer.to_str()
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert ours.added_tokens_decoder == theirs.added_tokens_decoder
    assert ours.model_max_length == theirs.model_max_length
    for text in TEXTS:
        one, other = (each(text, return_offsets_mapping=True) for each in (ours, theirs))
        assert one["input_ids"] == other["input_ids"]
        assert one["offset_mapping"] == other["offset_mapping"]


def test_xlmr_is_read_as_before(tiny_xlmr: Path) -> None:
    assert_same(tiny_xlmr)


@pytest.mark.parametrize("lower", [True, False])
def test_bert_is_read_as_before(copy: Path, lower: bool) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ann", "Ann", "##n", "a", "##a", "."]
    vocabulary = {word: n for n, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    for path in copy.glob("*token*"):
        path.unlink()
    # The configuration contradicts the file: the class follows the configuration.
    BertTokenizerFast(tokenizer_object=tokenizer, do_lower_case=not lower).save_pretrained(copy)
    change(copy, "config.json", lambda about: about.update(model_type="bert", pad_token_id=0))
    assert_same(copy)
    change(copy, "tokenizer_config.json", lambda about: about.pop("tokenizer_class"))
    assert_same(copy)


def test_roberta_is_read_as_before(copy: Path) -> None:
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ġ", "a", "n", "aa", "Ġa"]
    bpe = models.BPE({piece: n for n, piece in enumerate(pieces)}, [("a", "a"), ("Ġ", "a")])
    tokenizer = Tokenizer(bpe)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    for path in copy.glob("*token*"):
        path.unlink()
    RobertaTokenizerFast(tokenizer_object=tokenizer, add_prefix_space=True).save_pretrained(copy)
    change(copy, "config.json", lambda about: about.update(model_type="roberta"))
    assert_same(copy)


def test_old_folders_with_a_map_of_special_tokens(copy: Path) -> None:
    change(copy, "tokenizer_config.json", lambda about: about.pop("added_tokens_decoder"))
    assert_same(copy)
    (copy / "tokenizer_config.json").unlink()
    change(copy, "config.json", lambda about: about.update(tokenizer_class="XLMRobertaTokenizer"))
    assert_same(copy)


def test_neither_templates_nor_other_files_are_read(copy: Path, tiny_xlmr: Path) -> None:
    expected = find_backbone(str(tiny_xlmr)).tokenizer
    (copy / "chat_template.jinja").write_text("{{ ''.__class__.__mro__ }}")
    (copy / "added_tokens.json").write_text("{")
    other = {
        "chat_template": "{{ x }}",
        "tokenizer_file": "/etc/passwd",
        "fast_tokenizer_files": ["tokenizer.9.json"],
        "slow_tokenizer_class": "x.Y",
        "from_slow": True,
        "gguf_file": "x.gguf",
        "truncation_side": "left",
        "max_length": 3,
    }
    change(copy, "tokenizer_config.json", lambda about: about.update(other))
    found = find_backbone(str(copy)).tokenizer
    assert found.chat_template is None
    assert found("Ann and Bob")["input_ids"] == expected("Ann and Bob")["input_ids"]


def test_lengths_in_the_file_pad_and_cut_nothing(copy: Path) -> None:
    padding: dict[str, Any] = {
        "strategy": {"Fixed": 1 << 40},
        "direction": "Right",
        "pad_to_multiple_of": None,
    }
    padding |= {"pad_id": 1, "pad_type_id": 0, "pad_token": "<pad>"}
    change(copy, "tokenizer.json", lambda about: about.update(padding=padding))
    assert len(find_backbone(str(copy)).tokenizer("Ann and Bob")["input_ids"]) < 20


# What is refused


@pytest.mark.parametrize("name", ["EsmTokenizer", "marker.Tokens", "os.system", 3, ["x"], {"a": 1}])
def test_classes(copy: Path, name: Any) -> None:
    change(copy, "tokenizer_config.json", lambda about: about.update(tokenizer_class=name))
    assert "'tokenizer_class'" in refusal(copy)


def test_no_tokenizer_file(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    (copy / "vocab.txt").write_text("a\nb\n")
    assert "has no tokenizer.json" in refusal(copy)


@pytest.mark.parametrize(
    "text", ["{", "[]", "null", "{}", "[" * 100_000, '{"model": {"vocab": 1}}']
)
def test_files_that_are_none(copy: Path, text: str) -> None:
    (copy / "tokenizer.json").write_text(text)
    assert "tokenizer.json" in refusal(copy)


def _normalizer(step: Any) -> Callable[[dict[str, Any]], None]:
    return lambda about: about.update(normalizer=step)


def _replace(pattern: dict[str, str], content: str) -> Callable[[dict[str, Any]], None]:
    return _normalizer({"type": "Replace", "pattern": pattern, "content": content})


def _model(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda about: about["model"].update(changes)


def _table(texts: bytes, size: int = 4) -> Callable[[dict[str, Any]], None]:
    table = base64.b64encode(struct.pack("<I", size) + b"\0" * 4 + texts).decode()
    return _normalizer({"type": "Precompiled", "precompiled_charsmap": table})


def _added(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda about: about["added_tokens"][0].update(changes)


def _template(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda about: about["post_processor"].update(changes)


_DEEP: dict[str, Any] = {"type": "NFC"}
for _ in range(20):
    _DEEP = {"type": "Sequence", "normalizers": [_DEEP]}


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (_replace({"Regex": "(a+)+$"}, ""), "might never end"),
        (_replace({"Regex": "(?:a{9999}){9999}"}, ""), "might never end"),
        (_replace({"String": "a"}, "a" * 9), "longer"),
        (_replace({"String": ""}, ""), "longer"),
        (_normalizer({"type": "Prepend", "prepend": "x" * 1000}), "before each"),
        (_normalizer({"type": "Sequence", "normalizers": [{"type": "NFC"}] * 40}), "more than"),
        (_normalizer(_DEEP), "more than"),
        (_normalizer({"type": "Evil"}), "kind 'Evil'"),
        (_normalizer({"type": ["NFC"]}), "normalizer of kind"),
        (_normalizer([1]), "an object for each part"),
        (_table(b"x" * 1000), "long texts"),
        (_table(b"x", size=400), "is damaged"),
        (_normalizer({"type": "Precompiled", "precompiled_charsmap": "%%"}), "is damaged"),
        (
            lambda about: about.update(
                pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+"}, "invert": False}
            ),
            "pre_tokenizer of kind 'Split'",
        ),
        (
            lambda about: about.update(
                decoder={"type": "Replace", "pattern": {"Regex": "(a+)+"}, "content": ""}
            ),
            "might never end",
        ),
        (_model(type="Other"), "model of kind 'Other'"),
        (_model(vocab=[["x", 0.0]] * 5000), "5000 pieces, for which"),
        (_model(vocab=[["x" * 5000, 0.0]]), "a piece that is very long"),
        (_model(vocab=[["x"]]), "no list of pieces"),
        (_model(vocab={"a": 1}), "no list"),
        (_model(type="WordLevel", vocab={"a": 1 << 31}, unk_token="a"), "an id above"),
        (_model(type="BPE", vocab={"a": 0}, merges=[], dropout=0.5), "by chance"),
        (
            _model(type="WordPiece", vocab={"a": 0}, max_input_chars_per_word=10**9),
            "a word's limit",
        ),
        (_added(id=1 << 31), "with an id above"),
        (_added(content=""), "an added token of no use"),
        (
            _template(special_tokens={"<s>": {"id": "<s>", "ids": [0] * 9, "tokens": ["<s>"] * 9}}),
            "several pieces",
        ),
        (_template(single=[{"Sequence": {"id": "A", "type_id": 0}}] * 99), "too many"),
        (_model(unk_id=10**6), "no tokenizer"),
    ],
)
def test_strange_parts(copy: Path, edit: Callable[[dict[str, Any]], None], words: str) -> None:
    change(copy, "tokenizer.json", edit)
    assert words in refusal(copy)


def test_a_name_that_comes_twice(copy: Path) -> None:
    path = copy / "tokenizer.json"
    path.write_text(path.read_text().replace("{", '{"normalizer": null, ', 1))
    assert "comes twice" in refusal(copy)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pad_token": None, "added_tokens_decoder": None}, ""),
        ({"cls_token": {"content": ""}}, "is no special token"),
        ({"cls_token": 5}, "is no special token"),
        ({"added_tokens_decoder": [1]}, "added_tokens_decoder"),
        ({"added_tokens_decoder": {"x": {"content": "a"}}}, "'x' is no id"),
        ({"added_tokens_decoder": {"0": "a"}}, "is no special token"),
        ({"additional_special_tokens": "abc"}, "additional_special_tokens"),
        ({"additional_special_tokens": [f"x{n}" for n in range(20)]}, "no place in 800"),
        ({"pad_token": "</s>"}, "the tokenizer's padding is token 2"),
    ],
)
def test_special_tokens(copy: Path, changes: dict[str, Any], words: str) -> None:
    change(copy, "tokenizer_config.json", lambda about: about.update(changes))
    if words:
        assert words in refusal(copy)
    else:  # the class has names of its own for them
        assert find_backbone(str(copy)).tokenizer.pad_token_id == 1


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "tokenizer.json"])
@pytest.mark.parametrize("seed", range(3))
def test_mutated_files_end_in_one_line(copy: Path, name: str, seed: int) -> None:
    """Of 150 changes each: the file is read and cuts texts, or one line says what is wrong."""
    path, chance = copy / name, random.Random(f"{name} {seed}")
    good, refused = path.read_bytes(), 0
    for _ in range(150):
        at, count = chance.randrange(len(good)), chance.choice((0, 1, 1, 1, 5))
        other = bytes(chance.choice(b'0123456789"{}[],:eE-.antrufls') for _ in range(count))
        path.write_bytes(good[:at] + other + good[at + chance.choice((0, 1, 1, 20)) :])
        try:
            tokenizer = find_backbone(str(copy)).tokenizer
            for text in TEXTS:
                assert max(tokenizer(text)["input_ids"], default=0) < 800
        except RefusedError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 10
