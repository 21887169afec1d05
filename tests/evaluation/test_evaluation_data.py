"""Which languages and splits are asked for, and what the data has of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapter_stilts.data.load import load_examples
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.data import (
    NoDataError,
    other_languages,
    read_data,
    resolve_languages,
    resolve_split,
)
from adapter_stilts.evaluation.run import Evaluation
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.training.target import source_language
from evaluation_kit import LANGUAGES, ROWS


@pytest.mark.parametrize(
    ("langs", "expected"),
    [
        ("all", ("en", "ar", "bg")),
        (" ko , sw", ("ko", "sw")),
        (["de", "en"], ("de", "en")),
        ("sw,ko,sw", ("sw", "ko")),
    ],
)
def test_languages(langs: str | list[str], expected: tuple[str, ...]) -> None:
    target = get_target("xnli") if langs == "all" else get_target("panx")
    assert resolve_languages(target, langs)[: len(expected)] == expected


def test_suites_and_pairs() -> None:
    panx = get_target("panx")
    assert len(resolve_languages(panx, "xtreme")) == 40
    assert len(resolve_languages(panx, "xtreme-r")) == len(resolve_languages(panx, "all")) == 48
    mlqa = get_target("mlqa")
    assert resolve_languages(mlqa, "en-de") == ("en-de",)
    assert resolve_languages(mlqa, "all,en-de") == (*mlqa.languages, "en-de")
    for wrong in ("en,xx", "en-ko", "ko-en", "english"):
        with pytest.raises(UserError, match="no language '"):
            resolve_languages(mlqa, wrong)


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("Asha\tB-PER\n")


def test_any_language_that_has_files(tmp_path: Path) -> None:
    panx, here = get_target("panx"), str(tmp_path)
    put(tmp_path, "panx/test-ha.tsv", "panx/test-sr-Latn.tsv", "panx/test-pt.tsv")
    put(tmp_path, "panx/test-zh.tsv", "panx/test-he.tsv", "panx/test-tl.tsv")

    def asked(langs: str) -> tuple[str, ...]:
        return resolve_languages(panx, langs, "test", here)

    assert asked("ha") == asked("hau") == asked("HA") == ("ha",)
    assert asked("sr-Latn") == asked("sr-latn") == ("sr-Latn",)
    assert asked("iw,zh-Hans,pt-BR,fil") == ("he", "zh", "pt", "tl")
    assert asked("zh-CN") == asked("cmn") == asked("zh_CN") == ("zh",)
    put(tmp_path, "panx/test-pt-BR.tsv")
    assert asked("pt-BR") == asked("pt-br") == ("pt-BR",)
    put(tmp_path, "panx/test-cy.tsv", "panx/test-xx.tsv", "panx/dev-ig.tsv", "panx/test-iw.tsv")
    assert other_languages(panx, "test", here) == ["cy", "ha", "pt-BR", "sr-Latn"]
    assert other_languages(panx, "dev", here) == ["ig"]
    assert "ha" not in asked("all")
    with pytest.raises(
        NoDataError, match="there are files of cy, ha, pt-BR, sr-Latn: --langs cy,ha"
    ):
        read_data(panx, ["en", "de"], "test", here, limit=None)
    with pytest.raises(NoDataError, match=r"no test data of panx\.sn in .* expected test-sn\.tsv"):
        read_data(panx, asked("sn"), "test", here, limit=None)
    found = read_data(panx, asked("ha,sn"), "test", here, limit=None)
    assert list(found.languages) == ["ha"] and list(found.missing) == ["sn"]


@pytest.mark.parametrize(
    ("code", "written"),
    [
        ("he", "iw"), ("tl", "fil"), ("zh", "zh-Hans"), ("zh", "zh_CN"), ("zh", "cmn"),
        ("pt", "pt-BR"), ("id", "in"), ("jv", "jw"), ("de", "ger"), ("sw", "swh"), ("ar", "arb"),
    ],
)  # fmt: skip
def test_files_named_by_another_code_of_the_language(
    tmp_path: Path, code: str, written: str
) -> None:
    panx, here = get_target("panx"), str(tmp_path)
    put(tmp_path, f"panx/test-{written}.tsv", f"panx/train-{written}.tsv")
    assert resolve_languages(panx, code, "test", here) == (code,)
    found = read_data(panx, [code], "test", here, limit=None).languages
    assert list(found) == [code] and found[code].count == 1
    assert source_language(panx, code, here) == code
    (stage,) = panx.trained_in(code)
    assert len(load_examples(stage, "train", here).examples) == 1
    if written in ("iw", "fil"):  # retired codes and synonyms are shown as ours
        assert resolve_languages(panx, written, "test", here) == (code,)
    # A file by our own code goes first, be it of this split alone.
    put(tmp_path, f"panx/test-{code}.tsv", f"panx/dev-{written}.tsv")
    (tmp_path / f"panx/test-{code}.tsv").write_text("Asha\tB-PER\n\nKano\tB-LOC\n")
    found = read_data(panx, [code], "test", here, limit=None).languages
    assert found[code].count == 2


def test_another_language_is_no_spelling(tmp_path: Path) -> None:
    put(tmp_path, "panx/test-yue.tsv", "panx/test-zh-Hant.tsv", "panx/test-arz.tsv")
    for code in ("zh", "ar"):
        with pytest.raises(NoDataError, match=rf"expected test-{code}\.tsv"):
            read_data(get_target("panx"), [code], "test", str(tmp_path), limit=None)


def test_files_named_after_three_letters(tmp_path: Path) -> None:
    for side in ("eng", "bre"):
        put(tmp_path, f"tatoeba/v1/tatoeba.bre-eng.{side}")
    tatoeba = get_target("tatoeba")
    assert resolve_languages(tatoeba, "br", "test", str(tmp_path)) == ("br",)
    found = read_data(tatoeba, ["br"], "test", str(tmp_path), limit=None)
    assert found.languages["br"].count == 1


def test_training_data_in_any_language(tmp_path: Path) -> None:
    put(tmp_path, "panx/train-ha.tsv", "panx/dev-ha.tsv", "panx/train-pt.tsv", "panx/dev-pt.tsv")
    panx, here = get_target("panx"), str(tmp_path)
    assert source_language(panx, "hau", here) == "ha"
    assert source_language(panx, "pt-BR", here) == "pt"
    assert source_language(panx, "sn", here) == "sn"
    (stage,) = panx.trained_in("ha")
    assert stage.language == "ha"
    assert load_examples(stage, "train", here).examples["tags"][:] == [["B-PER"]]
    with pytest.raises(UserError, match="training data of xquad is in en, not in 'ha'"):
        get_target("xquad").trained_in("ha")
    with pytest.raises(UserError, match="no language 'jp': did you mean 'ja'"):
        source_language(panx, "jp", here)


def test_splits() -> None:
    assert resolve_split(get_target("xnli"), "dev") == "dev"
    with pytest.raises(UserError, match=r"xquad has no dev data: .*--split test or --dev-file"):
        resolve_split(get_target("xquad"), "dev")
    with pytest.raises(UserError, match="no split of xnli 'tset': did you mean 'test'"):
        resolve_split(get_target("xnli"), "tset")
    for takes_files in (True, False):  # `compare` and `explain` take none
        with pytest.raises(UserError) as refused:
            resolve_split(get_target("xquad"), "dev", takes_files=takes_files)
        assert ("--dev-file" in str(refused.value)) is takes_files


def test_what_is_there_is_read_and_what_is_not_is_named(tiny: Path) -> None:
    target = get_target("tiny-qa")
    (tiny / "data/tiny-qa/test-de.json").unlink()
    found = read_data(target, LANGUAGES, "test", "data", limit=None)
    assert list(found.languages) == ["en", "ko", "sw"]
    assert {each.count for each in found.languages.values()} == {ROWS}
    assert "test-de.json" in found.missing["de"]
    fingerprints = {each.fingerprint for each in found.languages.values()}
    limited = read_data(target, ("en",), "test", "data", limit=3).languages["en"]
    assert limited.count == 3
    assert limited.fingerprint not in fingerprints
    with pytest.raises(NoDataError, match=r"test-de\.json .*; --split dev is there"):
        read_data(target, ("de",), "test", "data", limit=None)


def evaluation(scores: dict[str, dict[str, float]]) -> Evaluation:
    entries = {name: {"labelled": bool(each), "scores": each} for name, each in scores.items()}
    return Evaluation("qa", "test", "x", Path(), "f1", entries, {})


def test_averages_and_gap() -> None:
    found = evaluation(
        {
            "en": {"f1": 80.0, "exact_match": 70.0},
            "de": {"f1": 60.0, "exact_match": 40.0},
            "ko": {},
            "sw": {"f1": 40.0, "exact_match": 30.0},
        }
    )
    assert found.average == {"f1": 60.0, "exact_match": pytest.approx(140 / 3)}
    assert found.english == {"f1": 80.0, "exact_match": 70.0}
    assert found.without_english == {"f1": 50.0, "exact_match": 35.0}
    assert found.gap == {"f1": 30.0, "exact_match": 35.0}


def test_no_gap_without_english_or_without_others() -> None:
    assert evaluation({"en": {"f1": 80.0}}).gap == {}
    alone = evaluation({"de": {"f1": 80.0}})
    assert (alone.english, alone.gap, alone.average) == ({}, {}, {"f1": 80.0})
    assert evaluation({"de": {}}).average == {}


def test_no_languages_are_no_missing_data(tmp_path: Path) -> None:
    """A study asks for those whose scores are sums over items: there may be none."""
    found = read_data(get_target("lareqa"), [], "test", str(tmp_path), limit=None)
    assert not found.languages
    assert not found.missing
