"""Tatoeba: find the translation of a sentence. 36 languages with English, in XTREME-R 41.

As in XTREME's code, the English sentences are the queries and those of the other language are
searched. There is one set and no training data. In LASER's files line i translates line i. In
XTREME's own copies the English lines are sorted: with them the predictions are what XTREME takes as
a submission, and there is no score.
"""

from __future__ import annotations

from adapter_stilts.heads.embedding import EmbeddingExample
from adapter_stilts.tasks.rows import text
from adapter_stilts.tasks.spec import FileData, HubData, Retrieval, Row, Source, TargetSpec

CODES = {
    "af": "afr", "ar": "ara", "bg": "bul", "bn": "ben", "de": "deu", "el": "ell", "es": "spa",
    "et": "est", "eu": "eus", "fa": "pes", "fi": "fin", "fr": "fra", "he": "heb", "hi": "hin",
    "hu": "hun", "id": "ind", "it": "ita", "ja": "jpn", "jv": "jav", "ka": "kat", "kk": "kaz",
    "ko": "kor", "ml": "mal", "mr": "mar", "nl": "nld", "pt": "por", "ru": "rus", "sw": "swh",
    "ta": "tam", "te": "tel", "th": "tha", "tl": "tgl", "tr": "tur", "ur": "urd", "vi": "vie",
    "zh": "cmn",
}  # fmt: skip
ADDED = {"az": "aze", "lt": "lit", "pl": "pol", "ro": "ron", "uk": "ukr"}


def example(row: Row) -> EmbeddingExample:
    """The English sentence of one pair (`sentence2` on the Hub).

    Its translation is known by standing in the same row, unless the rows are sorted.
    """
    query = text(row, "sentence2" if "sentence2" in row else "text").strip()
    gold = [] if "sorted" in row else ["the same row"]
    return {"id": str(row.get("line", "")), "query": query, "text": "", "context": "", "gold": gold}


def candidate_example(row: Row) -> EmbeddingExample:
    """The other sentence of one pair (`sentence1` on the Hub)."""
    found = text(row, "sentence1" if "sentence1" in row else "text").strip()
    return {"id": str(row.get("line", "")), "query": "", "text": found, "context": "", "gold": []}


def _source(name: str, side: str, xtreme: str) -> Source:
    return Source(
        name=name,
        folders=("tatoeba", "LASER/data/tatoeba"),
        hub=HubData(
            id="mteb/tatoeba-bitext-mining",
            revision="69e8f12da6e31d59addadda9a9c8a2e601a0e282",
            splits={"test": ({"config": "{code}-eng", "split": "test"},)},
        ),
        files=(
            FileData("lines", {"test": (f"v1/tatoeba.{{code}}-eng.{side}",)}),
            FileData("lines", {"test": (f"tatoeba.{{code}}-eng.{side}",)}),
            FileData("lines", {"test": (f"{{lang}}-en.{xtreme}",)}, columns={"line": "sorted"}),
        ),
        obtain="LASER's files, of github.com/facebookresearch/LASER, data/tatoeba/v1",
    )


TASK = TargetSpec(
    name="tatoeba",
    title="Tatoeba, retrieval of translations",
    category="retrieval",
    head="embedding",
    metric="accuracy",
    suites={"xtreme": tuple(CODES), "xtreme-r": tuple(sorted({**CODES, **ADDED}))},
    sources=(_source("tatoeba", "eng", "en"),),
    to_example=example,
    training=(),
    licence="CC BY 2.0 FR",
    citation=(
        "Mikel Artetxe and Holger Schwenk. Massively Multilingual Sentence Embeddings for "
        "Zero-Shot Cross-Lingual Transfer and Beyond. TACL 7, 2019. arXiv:1812.10464"
    ),
    near="mnli",
    train_languages=(),
    fields={"code": {**CODES, **ADDED}},
    retrieval=Retrieval(
        search="nearest",
        candidates=(_source("tatoeba_candidates", "{code}", "{lang}"),),
        candidate_example=candidate_example,
    ),
    published={
        "accuracy": 57.3,
        "model": "XLM-R Large, mean of layer 14",
        "source": "Hu et al. 2020, arXiv:2003.11080 (mean of 36 languages)",
    },
)
