"""What requests and answers look like; the OpenAPI description is made of it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def _whole(text: str) -> str:
    """JSON can hold half of a surrogate pair; no text, and no answer, can."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("holds half of a surrogate pair (\\ud…)") from error
    return text


Text = Annotated[str, AfterValidator(_whole)]


def _plain_id(value: Any) -> Any:
    """A text or a whole number; a bool, which Python takes for a number, is none."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("must be a text or a whole number")
    return _whole(value) if isinstance(value, str) else value


Id = Annotated[str | int, BeforeValidator(_plain_id)]


class Input(BaseModel):
    """An input for one module. Which fields it needs depends on the module: see `GET /modules`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "module": "squad",
                    "lang": "de",
                    "question": "Wo steht das Schloss?",
                    "context": "Das Schloss steht über Prag.",
                }
            ]
        },
    )

    module: Text = Field(description="A name from `GET /modules`.")
    id: Id | None = Field(None, description="Comes back with the answer.")
    lang: Text | None = Field(None, description="Language code; texts in ja, th, zh are cut by it.")
    question: Text | None = Field(None, description="For question answering, and for some choices.")
    context: Text | None = Field(None, description="The text that holds the answer.")
    text_a: Text | None = Field(None, description="For classification: the first text.")
    text_b: Text | None = Field(None, description="The second text, if there is one.")
    premise: Text | None = Field(None, description="The same as `text_a`.")
    hypothesis: Text | None = Field(None, description="The same as `text_b`.")
    prompt: Text | None = Field(None, description="For multiple choice: what comes before.")
    options: list[Text] | None = Field(None, description="The choices.")
    choices: list[Text] | None = Field(None, description="The same as `options`.")
    words: list[Text] | None = Field(None, description="For tagging: the words.")
    tokens: list[Text] | None = Field(None, description="The same as `words`.")
    text: Text | None = Field(
        None, description="For sentence vectors; one to classify; or one to be cut and tagged."
    )


class Inputs(BaseModel):
    """Several inputs, for one module or for different ones."""

    model_config = ConfigDict(extra="forbid")

    inputs: list[Input] = Field(min_length=1)


class Answer(BaseModel):
    """What a module says. `answer` holds, by the module's kind:

    * span: `answer` (empty if there is none), `start` (its first character), `score`
    * classification: `labels` with their probabilities, the likeliest first
    * choice: `choice` (from 0), `option`, `probabilities`
    * tagging: `tags`, pairs of a word and its tag
    * embedding: `vector`, of length 1
    * regression: `score`
    """

    module: str
    kind: str
    id: str | int | None = None
    lang: str | None = None
    answer: dict[str, Any]


class Answers(BaseModel):
    """One answer an input, in their order."""

    answers: list[Answer]


class About(BaseModel):
    """A module that can be asked."""

    name: str
    kind: str
    task: str
    method: str
    composition: str
    needs: list[str] = Field(description="Fields that its inputs must have.")
    takes: list[str] = Field(description="Fields that they may have.")
    aliases: dict[str, list[str]] = Field(description="Other names of fields.")
    choices: int = Field(description="Options that it chooses among; 0 for other kinds.")
    languages: list[str] = Field(description="What its target is evaluated in; it reads others.")
    scores: dict[str, float] = Field(description="Dev scores in percent.")
    parameters: int
    licence: str = Field(description="Of the data that it learnt from.")
    loaded: bool


class Modules(BaseModel):
    """The backbone and what stands on it."""

    backbone: str
    languages: list[str] = Field(description="Codes that `lang` may have.")
    modules: list[About]


class Health(BaseModel):
    """Whether the service is up, and how busy."""

    status: str
    backbone: str
    loaded: int
    waiting: int


class Problem(BaseModel):
    """Why a request was not answered."""

    error: str
    field: str | None = Field(None, description="The field that is wrong.")
