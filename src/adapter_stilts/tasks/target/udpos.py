"""UD-POS: the universal part of speech of every word. 33 languages, in XTREME-R 38.

XTREME joins all treebanks of a language, in the order of their file names: those of Universal
Dependencies 2.5, XTREME-R those of 2.7. Its own test files have no tags; the treebanks' have.
The Hub's version has the parts of multi-word tokens in place of these, and lacks the five
languages that XTREME-R adds: predictions on it cannot be handed in.
"""

from __future__ import annotations

from dataclasses import replace

from adapter_stilts.heads.tagging import TaggingExample
from adapter_stilts.tasks.rows import tag_names, texts
from adapter_stilts.tasks.spec import (
    FileData,
    HubData,
    Row,
    Source,
    TaskSpec,
    hub_splits,
    one_file,
    target_of,
)

NAMES = {
    "af": "Afrikaans", "ar": "Arabic", "bg": "Bulgarian", "de": "German", "el": "Greek",
    "en": "English", "es": "Spanish", "et": "Estonian", "eu": "Basque", "fa": "Persian",
    "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian",
    "id": "Indonesian", "it": "Italian", "ja": "Japanese", "kk": "Kazakh", "ko": "Korean",
    "mr": "Marathi", "nl": "Dutch", "pt": "Portuguese", "ru": "Russian", "ta": "Tamil",
    "te": "Telugu", "th": "Thai", "tl": "Tagalog", "tr": "Turkish", "ur": "Urdu",
    "vi": "Vietnamese", "yo": "Yoruba", "zh": "Chinese",
}  # fmt: skip
ADDED = {
    "lt": "Lithuanian", "pl": "Polish", "ro": "Romanian", "uk": "Ukrainian", "wo": "Wolof"
}  # fmt: skip
NOT_TRAINED = ("kk", "th", "tl", "yo")  # no training set, or (Kazakh) no dev set
TAGS = (
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN",
    "PUNCT", "SCONJ", "SYM", "VERB", "X",
)  # fmt: skip


def example(row: Row) -> TaggingExample | None:
    """One sentence; None where the treebank leaves the words out, as licences make some do.

    As in XTREME's `udpos_preprocess`: all words but one, or all, are an underscore. A treebank
    that is not tagged yet has an underscore for every tag.
    """
    words = texts(row, "tokens")
    if words.count("_") and words.count("_") >= len(words) - 1:
        return None
    tags = tag_names(row, "pos_tags", TAGS)
    return {
        "id": str(row.get("id") or ""),
        "words": words,
        "tags": [] if set(tags) == {"_"} else tags,
    }


SOURCE = Source(
    name="udpos",
    folders=("udpos", "ud-treebanks-v2.5", "ud-treebanks-v2.7", "udpos/ud-treebanks-v2.5"),
    hub=HubData(
        id="google/xtreme",
        revision="ec5f1f46e9af79639a90684a7a70a956c4998f04",
        splits=hub_splits("udpos.{name}", train="train", dev="validation", test="test"),
    ),
    files=(
        FileData(
            "conll",
            one_file("{split}-{lang}.tsv", "train", "dev", "test"),
            columns={"tags": "pos_tags"},
        ),
        FileData(
            "conllu",
            one_file("UD_*/{lang}_*-ud-{split}.conllu", "train", "dev", "test"),
            columns={"tags": "pos_tags"},
        ),
    ),
)

STAGE = TaskSpec(
    name="udpos",
    title="Universal Dependencies, parts of speech",
    head="tagging",
    metric="seqeval_f1",
    sources=(SOURCE,),
    to_example=example,
    tags=TAGS,
    sizes={"train": 21_253, "dev": 3_974},
    licence="by treebank, CC BY-SA and others",
    citation=(
        "Daniel Zeman, Joakim Nivre, Mitchell Abrams et al. Universal Dependencies 2.5. "
        "LINDAT/CLARIN digital library, Charles University, 2019. "
        "http://hdl.handle.net/11234/1-3105"
    ),
)

TASK = replace(
    target_of(STAGE),
    suites={"xtreme": tuple(NAMES), "xtreme-r": tuple(sorted({**NAMES, **ADDED}))},
    near="ccg",
    train_languages=tuple(lang for lang in (*NAMES, *ADDED) if lang not in NOT_TRAINED),
    fields={"name": {**NAMES, **ADDED}},
    aliases=("ud-pos", "pos", "ud"),
    published={
        "f1": 73.8,
        "model": "XLM-R Large, every weight trained",
        "source": "Hu et al. 2020, arXiv:2003.11080 (test, mean of 33 languages)",
    },
)
