"""LAReQA (XQuAD-R): find the sentences that answer a question, in all eleven languages at once.

The pool holds the sentences of all languages, each with its paragraph. The questions are XQuAD's,
with the same ids in every language: a sentence lists the questions that it answers, so those in
the question's own language count too, as in LAReQA's code. There is one evaluation set. Learnt
from English SQuAD 1.1 as a dual encoder: question, answer sentence beside its paragraph.
"""

from __future__ import annotations

from dataclasses import replace

from adapter_stilts.heads.embedding import EmbeddingExample
from adapter_stilts.heads.span import check_offset
from adapter_stilts.tasks.intermediate import squad
from adapter_stilts.tasks.rows import sentence_at, text, texts
from adapter_stilts.tasks.spec import FileData, Retrieval, Row, Source, TargetSpec, codes

LANGUAGES = codes("en ar de el es hi ru th tr vi zh")
OBTAIN = (
    "LAReQA's sentence breaks are not on the Hub: get "
    "https://github.com/google-research-datasets/lareqa and point --data at its folder"
)


def example(row: Row) -> EmbeddingExample:
    """One question, by its id, which all that answer it list."""
    name = text(row, "id")
    question = text(row, "question")
    return {"id": name, "query": question, "text": "", "context": "", "gold": [name]}


def candidate_example(row: Row) -> EmbeddingExample:
    """One sentence, with LAReQA's id for it: language, paragraph from 1, sentence from 0."""
    return {
        "id": f"{row['file']}_{row['paragraph']}_{row['number']}",
        "query": "",
        "text": text(row, "sentence"),
        "context": text(row, "context"),
        "gold": texts(row, "questions"),
    }


def train_example(row: Row) -> EmbeddingExample | None:
    """One question with the sentence of its first answer; None if no sentence holds it."""
    answers, starts = row["answers"]["text"], row["answers"]["answer_start"]
    context = text(row, "context")
    if starts:
        check_offset(context, answers[0], starts[0])
    sentence = sentence_at(context, starts[0]) if starts else None
    if sentence is None:
        return None
    question = text(row, "question")
    return {
        "id": text(row, "id"),
        "query": question,
        "text": sentence,
        "context": context,
        "gold": [],
    }


def _source(name: str, form: str) -> Source:
    return Source(
        name=name,
        folders=("lareqa", "LAReQA"),
        files=tuple(
            FileData("squad" if form == "squad" else "xquad-r", {"test": (glob,)})
            for glob in ("xquad-r/{lang}.json", "{lang}.json")
        ),
        obtain=OBTAIN,
    )


TASK = TargetSpec(
    name="lareqa",
    title="LAReQA (XQuAD-R), retrieval of answers in many languages",
    category="retrieval",
    head="embedding",
    metric="map_at_20",
    suites={"xtreme-r": LANGUAGES},
    sources=(_source("lareqa", "squad"),),
    to_example=example,
    training=(
        replace(
            squad.TASK,
            name="lareqa",
            title="SQuAD 1.1, retrieval of answer sentences",
            head="embedding",
            metric="map_at_20",
            to_example=train_example,
            aliases=(),
            published={},
            max_length=256,
        ),
    ),
    licence="CC BY-SA 4.0",
    citation=(
        "Uma Roy, Noah Constant, Rami Al-Rfou, Aditya Barua, Aaron Phillips and Yinfei Yang. "
        "LAReQA: Language-Agnostic Answer Retrieval from a Multilingual Pool. EMNLP 2020. "
        "arXiv:2004.05484"
    ),
    near="squad",
    retrieval=Retrieval(
        search="ranking",
        candidates=(_source("lareqa_candidates", "xquad-r"),),
        candidate_example=candidate_example,
        pooled=True,
    ),
    aliases=("xquad-r",),
    published={
        "map_at_20": 40.7,
        "model": "XLM-R Large, every weight trained",
        "source": "Ruder et al. 2021, arXiv:2104.07412 (test, mean of 11 languages)",
    },
)
