"""Files of a retrieval task that do not belong together are refused before anything runs."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.data import read_data
from adapter_stilts.tasks.registry import get_target
from retrieval_kit import write_bucc, write_entities, write_lareqa, write_mewslix, write_tatoeba

SOURCES = {"de-1": "Ein Boot.", "de-2": "Ein Fluss."}
TARGETS = {"en-7": "A boat.", "en-8": "A river."}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path / "cache"))


def read(task: str, language: str, data: Path) -> None:
    read_data(get_target(task), [language], "test", str(data), limit=None)


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("en-8", "de-2"), "line 2: 'en-8' is the id of no sentence of bucc2018.de; are the col"),
        (("de-2", "en-"), "line 2: 'en-' is the id of no sentence of bucc2018.de"),
        (("de-", "en-8"), "line 2: 'de-' is the id of no sentence of bucc2018.de"),
    ],
)
@pytest.mark.parametrize("split", ["test", "dev"])
def test_listed_pairs_are_of_the_corpora(
    tmp_path: Path, pair: tuple[str, str], said: str, split: str
) -> None:
    for each in ("dev", "test"):
        gold = [("de-1", "en-7"), pair if each == split else ("de-2", "en-8")]
        write_bucc(tmp_path, "de", each, SOURCES, TARGETS, gold)
    with pytest.raises(UserError) as caught:
        read("bucc2018", "de", tmp_path)
    assert f"de-en.{split}.gold, {said}" in str(caught.value)
    for each in ("dev", "test"):
        write_bucc(tmp_path, "de", each, SOURCES, TARGETS, [("de-1", "en-7")])
    read("bucc2018", "de", tmp_path)


@pytest.mark.parametrize("cut", ["de-2", "de-2\t", "\ten-8"])
def test_a_cut_gold_line(tmp_path: Path, cut: str) -> None:
    for each in ("dev", "test"):
        write_bucc(tmp_path, "de", each, SOURCES, TARGETS, [("de-1", "en-7")])
    with (tmp_path / "bucc2018/de-en.test.gold").open("a") as file:
        file.write(f"{cut}\n")
    with pytest.raises(UserError, match=r"de-en\.test\.gold, line 2: "):
        read("bucc2018", "de", tmp_path)


def test_translations_by_line_are_as_many(tmp_path: Path) -> None:
    write_tatoeba(tmp_path, "deu", [("A boat.", "Ein Boot."), ("A river.", "Ein Fluss.")])
    read("tatoeba", "de", tmp_path)
    (tmp_path / "tatoeba/v1/tatoeba.deu-eng.deu").write_text("Ein Boot.\n")
    with pytest.raises(
        UserError, match=r"2 sentences in .*eng, but 1 translations in .*deu \(de\)"
    ):
        read("tatoeba", "de", tmp_path)


def test_entities_of_another_release(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mentions = [("m1", "Ada reads.", "Q1"), ("m2", "Bob reads.", "Q2")]
    write_mewslix(tmp_path, "de", "test", mentions)
    write_entities(tmp_path, {"Q8": "One.", "Q9": "Other."})
    with pytest.raises(UserError, match=r"mewslix.de: no candidate has .* such as 'Q1'"):
        read("mewslix", "de", tmp_path)
    write_entities(tmp_path, {"Q1": "One.", "Q9": "Other."})
    with caplog.at_level(logging.WARNING):
        read("mewslix", "de", tmp_path)
    assert "no candidate for 1 of 2 keys, such as 'Q2'" in caplog.text


def test_questions_that_no_sentence_answers(tmp_path: Path) -> None:
    write_lareqa(tmp_path, "de", [[("Ein Boot.", "Was?"), ("Ein Fluss.", "")]])
    read("lareqa", "de", tmp_path)
    path = tmp_path / "lareqa/xquad-r/de.json"
    content = json.loads(path.read_text())
    content["data"][0]["paragraphs"][0]["sentence_breaks"] = [[10, 20]]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"lareqa.de: no candidate has .* such as 'q0'"):
        read("lareqa", "de", tmp_path)
