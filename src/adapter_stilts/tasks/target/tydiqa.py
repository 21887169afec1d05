"""TyDiQA-GoldP: questions asked by people who want to know, in nine languages.

There is one evaluation set, the release's dev set, which XTREME calls the test set. As in
XTREME's script, its English part also chooses the checkpoint; the other languages play no part in
the training. Official training data exists in all nine. XTREME splits the training file by language
and keeps of an id no more than a number, which many questions then share.
"""

from __future__ import annotations

from dataclasses import replace

from adapter_stilts.tasks.spec import (
    FileData,
    HubData,
    HubSplit,
    Source,
    Split,
    TaskSpec,
    target_of,
)
from adapter_stilts.tasks.target import xquad

NAMES = {
    "en": "english", "ar": "arabic", "bn": "bengali", "fi": "finnish", "id": "indonesian",
    "ko": "korean", "ru": "russian", "sw": "swahili", "te": "telugu",
}  # fmt: skip


WHOLE: dict[Split, str] = {
    "train": "tydiqa-goldp-v1.1-train.json",
    "dev": "tydiqa-goldp-v1.1-dev.json",
    "test": "tydiqa-goldp-v1.1-dev.json",
}
"""The release's files of all languages."""


def _source(name: str, split: Split, hub_split: str, *globs: str) -> Source:
    """One split of the data set; the Hub tells the languages by how the ids begin."""
    there: HubSplit = {"config": "secondary_task", "split": hub_split, "only": ("id", "{name}-")}
    return Source(
        name=name,
        folders=("tydiqa", "TyDiQA"),
        hub=HubData(
            id="google-research-datasets/tydiqa",
            revision="da78f23f9119363459acbaf46bf89426ff26c259",
            splits={split: (there,)},
        ),
        files=(
            *(FileData("squad", {split: (glob,)}) for glob in globs),
            FileData("squad", {split: (WHOLE[split],)}, only=("id", "{name}-")),
        ),
    )


DEV_FILES = (
    "tydiqa-goldp-v1.1-dev/tydiqa.goldp.{lang}.dev.json",
    "tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-{name}.json",
    "tydiqa.goldp.{lang}.dev.json",
    "tydiqa-goldp-dev-{name}.json",
)
TRAIN_FILES = (
    "tydiqa-goldp-v1.1-train/tydiqa.goldp.{lang}.train.json",
    "tydiqa.goldp.{lang}.train.json",
)

STAGE = TaskSpec(
    name="tydiqa",
    title="TyDiQA-GoldP, extractive question answering",
    head="span",
    metric="squad",
    sources=(
        _source("tydiqa_train", "train", "train", *TRAIN_FILES),
        _source("tydiqa", "dev", "validation", *DEV_FILES),
    ),
    to_example=xquad.example,
    sizes={"train": 3_696, "dev": 440},
    licence="Apache-2.0",
    citation=(
        "Jonathan H. Clark, Eunsol Choi, Michael Collins, Dan Garrette, Tom Kwiatkowski, Vitaly "
        "Nikolaev and Jennimaria Palomaki. TyDi QA: A Benchmark for Information-Seeking Question "
        "Answering in Typologically Diverse Languages. TACL 8, 2020. arXiv:2003.05002"
    ),
    repeated_ids=True,
    max_length=384,
)

TASK = replace(
    target_of(STAGE),
    suites={"xtreme": tuple(NAMES), "xtreme-r": tuple(NAMES)},
    sources=(_source("tydiqa", "test", "validation", *DEV_FILES),),
    near="squad",
    train_languages=tuple(NAMES),
    fields={"name": NAMES},
    aliases=("tydiqa-goldp", "tydi"),
    published={
        "f1": 65.1,
        "model": "XLM-R Large, every weight trained",
        "source": "Hu et al. 2020, arXiv:2003.11080 (test, mean of 9 languages)",
    },
)
