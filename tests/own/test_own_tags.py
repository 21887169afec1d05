"""Odd tags of chunks are named with file, line and remedy, before anything is trained on them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from adapter_stilts.errors import UserError
from adapter_stilts.own.build import load_task_file
from adapter_stilts.own.check import read_all
from own_kit import task_file

BIO = ["Anna B-PER", "Berg I-PER", "in O", "Ulm B-LOC"]
BIOES = ["Anna B-PER", "Berg E-PER", "in O", "Ulm S-LOC", "New B-LOC", "York I-LOC", "City E-LOC"]
IOB1 = ["Anna I-PER", "Berg I-PER", "Ida B-PER", "in O", "Ulm I-LOC"]


def said(
    folder: Path, caplog: pytest.LogCaptureFixture, *sentences: list[str], keys: str = ""
) -> list[str]:
    """The warnings about a file of these sentences."""
    data = "\n".join("\n".join([*lines, ""]) for lines in sentences)
    path = task_file(folder, "x.conll", data, *filter(None, [keys]), head="tagging")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        load_task_file(path)
    found = [record.getMessage() for record in caplog.records]
    assert not any("\n" in line for line in found)
    return found


@pytest.mark.parametrize(
    "sentences",
    [
        [BIO],
        [BIO, ["so O"]],
        [BIOES],
        [IOB1],
        [["B B", "und I", "so O"]],
        [["sie PRON", "kam VERB", "Ulm PROPN", "oh INTJ"]],
        [["sie S-1", "kam V-3", "Ulm N", "oh I", "er P", "es Q"]],
        [["a NP/N", "dog N", "B- N/N", "ran S[dcl]\\NP"]],
    ],
)
def test_what_scores_read_as_it_is_meant_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, sentences: list[list[str]]
) -> None:
    assert said(tmp_path, caplog, *sentences) == []


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (["Rom B-"], ("line 6", "B- (1 word)", "no type")),
        (["Rom O", "in -LOC", "Bern -LOC"], ("line 7", "-LOC (2 words)", "write B-PER or I-PER")),
        (["Rom ORG"], ("line 6", "ORG (1 word)", "'metric: tag_accuracy'")),
        (["Rom b-org"], ("line 6", "b-org (1 word)", "small letters")),
        (["Rom U-ORG"], ("line 6", "U-ORG (1 word)", "S- for a single one")),
        (["so O", "Ulm I-LOC"], ("line 7", "I-LOC begins a chunk", "1 of 3 chunks", "write B-")),
    ],
)
def test_odd_tags_of_bio(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, odd: list[str], words: tuple[str, ...]
) -> None:
    (line,) = said(tmp_path, caplog, BIO, odd)
    for word in ("x.conll", *words):
        assert word in line, line


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (["Ulm B-LOC", "so O"], ("line 9", "B-LOC has no I- or E-", "1 such chunk", "S-")),
        (["Ulm B-LOC", "so E-PER"], ("line 9", "B-LOC has no I- or E-")),
        (["so O", "Ulm E-LOC"], ("line 10", "E-LOC has no B- or I-", "1 such word")),
    ],
)
def test_odd_tags_of_bioes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, odd: list[str], words: tuple[str, ...]
) -> None:
    line, *_ = said(tmp_path, caplog, BIOES, odd)
    for word in ("x.conll", *words):
        assert word in line, line


def test_words_outside_that_are_not_called_o(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (line, _) = said(tmp_path, caplog, ["Ulm B-LOC", "so 0", "ist 0", "es 0", "Bern I-LOC"])
    assert "line 2" in line and "0 (3 words) counts as a chunk" in line


def test_small_letters_are_refused_where_o_would_be_a_chunk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small = [line.lower() for line in BIO]
    with pytest.raises(UserError, match=r"x\.conll, line 3: .*small letters.*tag_accuracy"):
        said(tmp_path, caplog, small)
    assert said(tmp_path, caplog, small, keys="metric: tag_accuracy") == []


def test_odd_tags_of_dev_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = task_file(tmp_path, "x.conll", "\n".join([*BIO, ""]), head="tagging")
    path.write_text(path.read_text("utf-8").replace("dev: x", "dev: y"), "utf-8")
    (tmp_path / "y.conll").write_text("\n".join([*BIO, "", "so O", "Ulm I-LOC", ""]), "utf-8")
    with caplog.at_level(logging.WARNING):
        list(read_all(load_task_file(path)))
    odd = [line for line in caplog.messages if "I-LOC begins a chunk" in line]
    assert len(odd) == 1 and f"{tmp_path / 'y.conll'}, line 7" in odd[0]
