"""The files of target tasks: test sets without labels, users' own files, and the real ones."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.data import load_examples
from adapter_stilts.data.parts import find_parts, with_files
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.data import has_labels
from adapter_stilts.tasks.registry import get_target, get_trained
from adapter_stilts.tasks.spec import Split
from adapter_stilts.tasks.target import tatoeba, udpos

DATA = os.environ.get("ADSTILTS_DATA", "")


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.getbasetemp() / "target-cache"
    monkeypatch.setenv("ADSTILTS_CACHE", str(folder))
    monkeypatch.delenv("ADSTILTS_DATA", raising=False)


# ---- files without labels


def put(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode())


def tsv(*rows: tuple[str, ...]) -> str:
    """As XTREME writes it, with Python's csv module."""
    file = io.StringIO()
    csv.writer(file, delimiter="\t").writerows(rows)
    return file.getvalue()


def blanked(*names: str) -> str:
    """SQuAD's JSON without its answers, as XTREME writes it (`remove_qa_test_annotations`)."""
    none = [{"answer_start": 0, "text": ""}]
    asked = [{"answers": none, "question": "Wer?", "id": name} for name in names]
    data = [{"paragraphs": [{"context": "Ada schrieb es.", "qas": [each]}]} for each in asked]
    return json.dumps({"data": data, "version": "1.1"})


PAIRS = tsv(('Er sagte "nein".', "Er lehnte ab."), ('"Warum?"', "Eine Frage."))
WORDS = "Das\nist\ngut\n\nJa\n"
ARTICLE = {
    "context": {
        "document_title": "Ada",
        "language": "de",
        "text": "Ada und Bob.",
        "sentence_spans": [{"start": 0, "end": 12}],
    },
    "mentions": [
        {"example_id": name, "mention_span": {"start": a, "end": b}, "entity_id": ""}
        for name, a, b in (("x", 0, 3), ("y", 8, 11))
    ],
}
COPA = [
    {"premise": "It rained.", "choice1": "a", "choice2": "b", "question": "effect", "idx": idx}
    for idx in range(2)
]
BLIND = {
    "xnli": ("de", "xnli/test-de.tsv", PAIRS),
    "pawsx": ("de", "pawsx/test-de.tsv", PAIRS),
    "udpos": ("de", "udpos/test-de.tsv", WORDS),
    "panx": ("de", "panx/test-de.tsv", WORDS),
    "xquad": ("de", "xquad/xquad.de.json", blanked("a", "b")),
    "mlqa": ("de", "mlqa/MLQA_V1/test/test-context-de-question-de.json", blanked("a", "b")),
    "tydiqa": (
        "fi",
        "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.fi.dev.json",
        blanked("finnish-1-0", "finnish-2-0"),
    ),
    "xcopa": ("en", "copa/test.jsonl", "".join(f"{json.dumps(row)}\n" for row in COPA)),
    "mewslix": ("de", "mewslix/wikinews_mentions/test-de.jsonl", json.dumps(ARTICLE)),
}


@pytest.mark.parametrize("name", BLIND)
def test_blind_test_sets(name: str, tmp_path: Path) -> None:
    language, path, content = BLIND[name]
    put(tmp_path / path, content)
    task = get_target(name).at(language)
    found = load_examples(task, "test", str(tmp_path))
    assert len(found.examples) == 2
    assert not has_labels(task, "test", str(tmp_path), found)


def test_what_blind_files_hold(tmp_path: Path) -> None:
    for _, path, content in BLIND.values():
        put(tmp_path / path, content)
    rows = {
        name: load_examples(get_target(name).at(BLIND[name][0]), "test", str(tmp_path)).examples
        for name in ("xnli", "udpos", "xquad", "mewslix")
    }
    assert rows["xnli"]["text_a"][:] == ['Er sagte "nein".', '"Warum?"']
    assert rows["xnli"]["label"][:] == [-1, -1]
    assert rows["udpos"]["words"][:] == [["Das", "ist", "gut"], ["Ja"]]
    assert rows["udpos"]["tags"][:] == [[], []]
    assert rows["xquad"]["id"][:] == ["a", "b"]
    assert rows["xquad"]["answers"][:] == [[], []]
    assert rows["mewslix"]["query"][:] == ["Ada: { Ada } und Bob.", "Bob: Ada und { Bob } ."]
    assert rows["mewslix"]["gold"][:] == [[], []]


# ---- other layouts of the releases

HEADED = "id\tsentence1\tsentence2\tlabel\n1\tJa.\tDoch.\t0\n"
TRANSLATED = "premise\thypo\tlabel\na\tb\tneutral\n"
MARKED = "de:Ada\tB-PER\nde::\tO\n"
LABELLED = json.dumps({**COPA[0], "label": 1})
LAYOUTS: list[tuple[str, str, Split, str, str]] = [
    ("pawsx", "de", "dev", "PAWS-X/x-final/de/dev_2k.tsv", HEADED),
    ("pawsx", "de", "train", "x-final/de/translated_train.tsv", HEADED),
    ("pawsx", "en", "train", "x-final/en/train.tsv", HEADED),
    ("xnli", "de", "train", "XNLI/XNLI-MT-1.0/multinli/multinli.train.de.tsv", TRANSLATED),
    ("panx", "de", "test", "wikiann/de/test", MARKED),
    ("panx", "de", "test", "panx_dataset/de-test", MARKED),
    ("mlqa", "en-de", "dev", "MLQA_V1/dev/dev-context-en-question-de.json", blanked("a")),
    ("tydiqa", "fi", "test", "tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-finnish.json", blanked("a")),
    ("xquad", "ro", "test", "XQuAD/xquad.ro.json", blanked("a")),
    ("xcopa", "et", "test", "xcopa/data/et/test.et.jsonl", LABELLED),
    ("xcopa", "en", "dev", "COPA/val.jsonl", LABELLED),
    ("xcopa", "en", "dev", "xcopa/val.en.jsonl", LABELLED),
    ("bucc2018", "de", "dev", "bucc2018/de-en/de-en.sample.de", "de-1\tJa.\n"),
    ("bucc2018", "de", "test", "bucc2018/de-en.test.de", "de-1\tJa.\n"),
    ("tatoeba", "de", "test", "tatoeba/de-en.en", "Yes.\n"),
    ("tatoeba", "de", "test", "LASER/data/tatoeba/v1/tatoeba.deu-eng.eng", "Yes.\n"),
]


@pytest.mark.parametrize(
    ("name", "language", "split", "path", "content"), LAYOUTS, ids=[each[3] for each in LAYOUTS]
)
def test_official_layouts(
    name: str, language: str, split: Split, path: str, content: str, tmp_path: Path
) -> None:
    put(tmp_path / path, content)
    target = get_target(name)
    task = target.trained_in(language)[-1] if split == "train" else target.at(language)
    assert len(load_examples(task, split, str(tmp_path)).examples) == 1


def test_words_of_the_wikiann_release_lose_their_language(tmp_path: Path) -> None:
    put(tmp_path / "panx/de/dev", MARKED)
    found = load_examples(get_target("panx").at("de"), "dev", str(tmp_path)).examples
    assert found["words"][0] == ["Ada", ":"]


def test_treebanks_are_joined_in_the_order_of_their_file_names(tmp_path: Path) -> None:
    # As in a submission to XTREME. The order of their folders would be another.
    for folder, file in (("UD_French-PUD", "fr_pud"), ("UD_French-ParTUT", "fr_partut")):
        content = f"1\t{file}\t_\tX\t_\t_\t0\troot\t_\t_\n"
        put(tmp_path / folder / f"{file}-ud-test.conllu", content)
    found = load_examples(get_target("udpos").at("fr"), "test", str(tmp_path)).examples
    assert found["words"][:] == [["fr_partut"], ["fr_pud"]]


def test_mined_sets_whose_pairs_are_secret(tmp_path: Path) -> None:
    put(tmp_path / "bucc2018/de-en.test.de", "de-1\tJa.\n")
    target = get_target("bucc2018")
    assert len(load_examples(target.at("de"), "test", str(tmp_path)).examples) == 1
    with pytest.raises(UserError, match=r"expected de-en\.test\.gold"):
        load_examples(target.gold("de"), "test", str(tmp_path))


def test_ids_of_tydiqa_are_changed_only_where_they_repeat(tmp_path: Path) -> None:
    path = tmp_path / "tydiqa-goldp-v1.1-dev/tydiqa.goldp.fi.dev.json"
    task = get_target("tydiqa").at("fi")
    put(path, blanked("finnish-1-0", "7", "8"))
    found = load_examples(task, "test", str(tmp_path)).examples
    assert found["id"][:] == ["finnish-1-0", "7", "8"]
    put(path, blanked("7", "8", "7"))
    *unchanged, last = load_examples(task, "test", str(tmp_path)).examples["id"][:]
    assert unchanged == ["7", "8"]
    assert re.fullmatch("7-[0-9a-f]{12}", last)
    put(path, blanked("7", "7", "7"))  # and nothing else tells the last two apart
    with pytest.raises(UserError, match="question '7': this id appears a second time"):
        load_examples(task, "test", str(tmp_path))


def test_one_file_of_all_languages(tmp_path: Path) -> None:
    rows = ["language\tgold_label\tsentence1\tsentence2"]
    rows += [f"{lang}\tneutral\tA {lang}.\tB." for lang in ("en", "de", "de")]
    put(tmp_path / "xnli.test.tsv", "\n".join(rows) + "\n")
    target = get_target("xnli")
    found = load_examples(target.at("de"), "test", str(tmp_path)).examples
    assert found["text_a"][:] == ["A de.", "A de."]
    with pytest.raises(UserError, match="no rows with language sw"):
        load_examples(target.at("sw"), "test", str(tmp_path))


# ---- a user's own file

NER = "Ada\tB-PER\nschrieb\tO\n"
UPOS = "Ada\tPROPN\nschrieb\tVERB\n"
CONLLU = (
    "1\tAda\tAda\tPROPN\t_\t_\t2\tnsubj\t_\t_\n2\tschrieb\tschreiben\tVERB\t_\t_\t0\troot\t_\t_\n"
)
NLI_ROW = {"premise": "Ein Hund bellt.", "hypothesis": "Ein Tier bellt.", "label": "entailment"}
ANSWERED = {
    "id": "q",
    "question": "Wer?",
    "context": "Ada schrieb es.",
    "answers": {"text": ["Ada"], "answer_start": [0]},
}
ASKED = {"id": "q", "question": "Wer?", "answers": [{"text": "Ada", "answer_start": 0}]}
SQUAD = json.dumps({"data": [{"paragraphs": [{"context": "Ada schrieb es.", "qas": [ASKED]}]}]})
OWN = [
    ("xnli", "own.tsv", tsv(("Ein Hund bellt.", "Ein Tier bellt.", "entailment"))),
    ("xnli", "own.jsonl", json.dumps(NLI_ROW)),
    ("pawsx", "own.tsv", tsv(("Er schrieb es.", "Es schrieb er.", "1"))),
    ("pawsx", "own.jsonl", json.dumps({"sentence1": "Ja.", "sentence2": "Doch.", "label": 1})),
    ("panx", "own.tsv", NER),
    ("panx", "own.jsonl", json.dumps({"tokens": ["Ada"], "ner_tags": ["B-PER"]})),
    ("udpos", "own.tsv", UPOS),
    ("udpos", "own.conllu", CONLLU),
    ("udpos", "own.jsonl", json.dumps({"tokens": ["Ada"], "pos_tags": ["PROPN"]})),
    *((name, "own.json", SQUAD) for name in ("xquad", "mlqa", "tydiqa", "lareqa")),
    *((name, "own.jsonl", json.dumps(ANSWERED)) for name in ("xquad", "mlqa", "tydiqa", "lareqa")),
    ("xcopa", "own.jsonl", json.dumps({**COPA[0], "label": 1})),
    ("mewslix", "own.jsonl", json.dumps({"mention": "Ada: { Ada } schrieb.", "entity": "Ada war"})),
]


@pytest.mark.parametrize(
    ("name", "file", "content"), OWN, ids=[f"{name}-{file}" for name, file, _ in OWN]
)
def test_own_training_file(name: str, file: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.write_text(content, encoding="utf-8")
    task = get_target(name).trained_in("en")[-1]
    found = load_examples(with_files(task, {"train": path}), "train")
    assert found.origin == str(path) and len(found.examples) == 1


@pytest.mark.parametrize("name", sorted({name for name, _, _ in OWN}))
def test_own_file_of_another_ending(name: str, tmp_path: Path) -> None:
    path = tmp_path / "own.xlsx"
    path.write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match=rf"{name} reads .*\.jsonl"):
        load_examples(with_files(get_target(name).trained_in("en")[-1], {"train": path}), "train")


def test_own_file_must_have_labels(tmp_path: Path) -> None:
    for name, content in (("xnli", PAIRS), ("udpos", WORDS)):
        path = tmp_path / f"{name}.tsv"
        path.write_bytes(content.encode())
        with pytest.raises(UserError, match=rf"{name}\.tsv, line 1: "):
            load_examples(
                with_files(get_target(name).trained_in("en")[-1], {"train": path}), "train"
            )


# ---- real data (`make test-data`)


def real_data(test: Any) -> Any:
    there = Path(DATA or "nowhere").is_dir()
    return pytest.mark.data(pytest.mark.skipif(not there, reason="ADSTILTS_DATA is not set")(test))


def each(languages: str, count: int) -> dict[str, int]:
    return dict.fromkeys(languages.split(), count)


POS_SMALL = {
    "af": 194, "ar": 909, "fa": 599, "he": 484, "hu": 441, "id": 559, "ja": 511, "mr": 46,
    "ta": 80, "tr": 988, "uk": 672, "vi": 800, "wo": 449,
}  # fmt: skip
HELD: dict[tuple[str, Split], dict[str, int]] = {
    ("xnli", "dev"): each("en ar bg de es fr hi ru sw th tr vi zh", 2_490),
    ("pawsx", "dev"): each("en de es fr ja ko zh", 2_000),
    ("panx", "dev"): {
        **each("en ar de es eu fi fr he id ja ko ru tr vi zh", 1_500),
        **each("bn hi sw ta", 1_000),
        "yo": 100,
    },
    ("udpos", "dev"): {
        **each("en bg de es et eu fi fr hi it ko nl pl pt ro ru zh", 1_000),
        **POS_SMALL,
    },
    ("xquad", "test"): each("en ar de es hi ru th tr vi zh", 1_190),
    ("lareqa", "test"): each("en ar de es hi ru th tr vi zh", 1_190),
    ("mlqa", "dev"): {
        "en": 1_148, "ar": 517, "de": 512, "es": 500, "hi": 507, "vi": 511, "zh": 504,
    },
    ("tydiqa", "test"): {
        "ar": 921, "bn": 113, "en": 440, "fi": 782, "id": 565, "ko": 276, "ru": 812, "sw": 499,
    },
    ("xcopa", "dev"): each("en et id it qu sw th tr vi zh", 100),
    ("xcopa", "test"): each("et id it qu sw th tr vi zh", 500),
    ("bucc2018", "dev"): {"zh": 8_624},
    ("tatoeba", "test"): {
        **dict.fromkeys({*tatoeba.CODES, *tatoeba.ADDED} - {"el", "ka", "ro", "te"}, 1_000),
        "jv": 205, "kk": 575, "ml": 687, "sw": 390, "ta": 307, "th": 548,
    },
}  # fmt: skip
"""What the folder's README says, and where it says about as many: what its files hold."""
TRAINED = {
    "xnli": (8_999, 2_490),
    "panx": (20_000, 1_500),
    "udpos": (21_253, 1_000),
    "xquad": (9_380, 1_190),
    "mlqa": (9_380, 1_190),
    "tydiqa": (3_696, 440),
    "xcopa": (400, 100),
}


@real_data
@pytest.mark.parametrize(("name", "split"), HELD)
def test_counts_in_every_language(name: str, split: Split) -> None:
    target = get_target(name)
    counts = {}
    for language in (*target.languages, *target.others):
        task = target.at(language)
        try:
            find_parts(task, split, Path(DATA))
        except UserError:
            continue
        found = load_examples(task, split, DATA)
        counts[language] = len(found.examples)
        assert all(part["rows_left_out"] == 0 for part in found.parts)
        assert target.retrieval or has_labels(task, split, DATA, found)
    assert counts == HELD[name, split]


@real_data
def test_what_is_searched() -> None:
    bucc, lareqa = get_target("bucc2018"), get_target("lareqa")
    for language, count in HELD["tatoeba", "test"].items():
        found = load_examples(tatoeba.TASK.candidates(language), "test", DATA).examples
        assert len(found) == count
    assert len(load_examples(bucc.candidates("zh"), "dev", DATA).examples) == 13_589
    assert len(load_examples(bucc.gold("zh"), "dev", DATA).examples) == 257
    for language in HELD["lareqa", "test"]:
        found = load_examples(lareqa.candidates(language), "test", DATA).examples
        answered = Counter(key for keys in found["gold"] for key in keys)
        assert len(answered) == 1_190 and max(answered.values()) <= 2


@real_data
@pytest.mark.parametrize("name", TRAINED)
def test_counts_of_training_data(name: str) -> None:
    stage = get_target(name).trained_in("en")[-1]
    found = [load_examples(stage, split, DATA) for split in ("train", "dev")]
    assert tuple(len(each.examples) for each in found) == TRAINED[name]


@real_data
def test_social_iqa() -> None:
    stage = get_trained("social-iqa")
    found = [load_examples(stage, split, DATA) for split in ("train", "dev")]
    assert tuple(len(each.examples) for each in found) == (33_410, 1_954)


@real_data
def test_lareqa_learns_from_squad() -> None:
    stage = get_target("lareqa").trained_in("en")[-1]
    (part,) = load_examples(stage, "train", DATA).parts
    assert part["rows_kept"] + part["rows_left_out"] == TRAINED["xquad"][0]
    assert part["rows_left_out"] < 100


@real_data
def test_treebanks() -> None:
    """Test sets as official CoNLL-U."""
    target, folder = udpos.TASK, f"{DATA}/ud-treebanks-v2.5"
    found = {}
    for language in (*target.languages, *target.others):
        try:
            found[language] = load_examples(target.at(language), "test", folder)
        except UserError:
            continue
    assert set(found) == {"de", "en", "es", "fr", "th", "tr", "yo", "zh"}
    known = {tag for data in found.values() for tags in data.examples["tags"] for tag in tags}
    assert known <= set(udpos.TAGS)


@real_data
@pytest.mark.parametrize(
    ("name", "file", "count"),
    [
        ("xnli", "xnli/dev-sw.tsv", 2_490),
        ("pawsx", "pawsx/dev-ko.tsv", 2_000),
        ("panx", "panx/dev-sw.tsv", 1_000),
        ("udpos", "udpos/dev-wo.tsv", 449),
        ("udpos", "ud-treebanks-v2.5/UD_Turkish-IMST/tr_imst-ud-test.conllu", 983),
        ("xquad", "xquad/xquad.hi.json", 1_190),
        ("mlqa", "mlqa/MLQA_V1/dev/dev-context-zh-question-zh.json", 504),
        ("tydiqa", "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.ko.dev.json", 276),
        ("xcopa", "xcopa/qu/val.qu.jsonl", 100),
    ],
)
def test_official_files_as_own_training_files(name: str, file: str, count: int) -> None:
    task = get_target(name).trained_in("en")[-1]
    found = load_examples(with_files(task, {"train": Path(DATA) / file}), "train")
    assert len(found.examples) == count
