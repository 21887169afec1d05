"""A backbone's tokenizer, built from its `tokenizer.json` by a closed list of classes.

`AutoTokenizer.from_pretrained` is not used: files of the folder could name a class of their own,
other files, or templates.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from adapter_stilts.backbones.configuration import read_object
from adapter_stilts.backbones.tokenizer_check import check_file
from adapter_stilts.errors import UserError
from adapter_stilts.safety import brief, first_line, is_number

if TYPE_CHECKING:
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

TOKENIZER, CONFIG, SPECIALS = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
FILES = (TOKENIZER, CONFIG, SPECIALS)

CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "XLMRobertaTokenizer": "XLMRobertaTokenizerFast",
        "XLMRobertaTokenizerFast": "XLMRobertaTokenizerFast",
        "BertTokenizer": "BertTokenizerFast",
        "BertTokenizerFast": "BertTokenizerFast",
        "RobertaTokenizer": "RobertaTokenizerFast",
        "RobertaTokenizerFast": "RobertaTokenizerFast",
        "PreTrainedTokenizerFast": "PreTrainedTokenizerFast",
        "TokenizersBackend": "PreTrainedTokenizerFast",  # its name in transformers 5
    }
)
"""Names of classes in a tokenizer's configuration, and what is built for each."""

_DEFAULTS = MappingProxyType(
    {
        "bert": "BertTokenizer",
        "roberta": "RobertaTokenizer",
        "xlm-roberta": "XLMRobertaTokenizer",
    }
)
_ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_SWITCHES = (
    "do_lower_case",
    "strip_accents",
    "tokenize_chinese_chars",
    "add_prefix_space",
    "trim_offsets",
)
_MARKS = ("single_word", "lstrip", "rstrip", "normalized", "special")
_MAX_TOKENS = 10_000


def read_options(folder: Path, model_type: str) -> dict[str, Any]:
    """What a folder's small files say of the tokenizer, checked: its class, and what that takes.

    Raises:
        UserError: they are no JSON, name code or a class of their own, or make no sense.
    """
    given, specials, model = (
        read_object(path) if (path := folder / name).exists() else {}
        for name in (CONFIG, SPECIALS, "config.json")
    )
    named = given.get("tokenizer_class")
    if named is None:
        named = model.get("tokenizer_class") or _DEFAULTS[model_type]
    if not isinstance(named, str) or named not in CLASSES:
        raise UserError(
            f"{folder / CONFIG}: 'tokenizer_class' is '{brief(named)}', and must be one of "
            f"{', '.join(CLASSES)}"
        )
    options: dict[str, Any] = {"tokenizer_class": CLASSES[named]}
    for key in _SWITCHES:
        if isinstance(given.get(key), bool):
            options[key] = given[key]
    length = given.get("model_max_length")
    if is_number(length):
        options["model_max_length"] = length
    added = _decoder(folder / CONFIG, given.get("added_tokens_decoder"))
    if added is not None:
        options["added_tokens_decoder"] = added
    else:
        given = {**given, **specials}
    return {**options, **_specials(folder / CONFIG, given, added or {})}


def build_tokenizer(folder: Path, model_type: str, pieces: int) -> PreTrainedTokenizerFast:
    """The tokenizer of checked files.

    Args:
        model_type: of the backbone, for a folder that does not name a class.
        pieces: rows of the embeddings.

    Raises:
        UserError: there is none, or it is not accepted.
    """
    options = read_options(folder, model_type)
    if not (folder / TOKENIZER).is_file():
        raise UserError(
            f"{folder} has no {TOKENIZER}, which a fast tokenizer is read from: let transformers "
            "write one (AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER))"
        )
    check_file(folder / TOKENIZER, pieces)
    made = _build(folder / TOKENIZER, options)
    check_tokens(folder / TOKENIZER, made, pieces)
    return made


def build_own_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer that this package wrote itself, whose files are known by their hashes."""
    return _build(folder / TOKENIZER, read_options(folder, "xlm-roberta"))


def _build(path: Path, options: dict[str, Any]) -> PreTrainedTokenizerFast:
    import transformers

    quieten()
    made: type[PreTrainedTokenizerFast] = getattr(transformers, options.pop("tokenizer_class"))
    try:
        # As a file: a tokenizer given as an object would be copied, which takes seconds.
        return made(tokenizer_file=str(path), **options)
    except BaseException as error:  # a panic of the library's is not even an Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise UserError(f"{path}: no tokenizer ({first_line(error)})") from error


def check_tokens(path: Path, tokenizer: PreTrainedTokenizerFast, pieces: int) -> None:
    """Refuses a tokenizer without a token that is needed, or with one that has no embedding.

    Raises:
        UserError: names the token.
    """
    for role in ("pad", "cls", "sep", "unk"):
        token = getattr(tokenizer, f"{role}_token_id")
        if token is None:
            raise UserError(f"{path}: the tokenizer has no {role} token")
    highest = max(tokenizer.added_tokens_decoder, default=0)
    if highest >= pieces:
        raise UserError(f"{path}: the token of id {highest} has no place in {pieces} embeddings")


def _decoder(path: Path, given: Any) -> dict[int, AddedToken] | None:
    if given is None:
        return None
    if not isinstance(given, dict) or len(given) > _MAX_TOKENS:
        raise UserError(f"{path}: 'added_tokens_decoder' is no object of tokens")
    found = {}
    for number, token in given.items():
        if not number.isdecimal() or len(number) > 9:
            raise UserError(f"{path}: 'added_tokens_decoder': '{brief(number)}' is no id")
        found[int(number)] = _token(path, token)
    return found


def _specials(
    path: Path, given: Mapping[str, Any], added: Mapping[int, AddedToken]
) -> dict[str, Any]:
    """The special tokens by their roles, each as the added token that it is."""
    known = {token.content: token for token in added.values()}
    found: dict[str, Any] = {}
    for role in _ROLES:
        token = given.get(f"{role}_token")
        if token is None:
            continue
        made = token if isinstance(token, str) else _token(path, token)
        found[f"{role}_token"] = known.get(str(made), made)
    extra = given.get("additional_special_tokens") or []
    if not isinstance(extra, list) or len(extra) > _MAX_TOKENS:
        raise UserError(f"{path}: 'additional_special_tokens' is no list of tokens")
    if extra:
        found["additional_special_tokens"] = [
            token if isinstance(token, str) else _token(path, token) for token in extra
        ]
    return found


def _token(path: Path, given: Any) -> AddedToken:
    from tokenizers import AddedToken

    content = given.get("content") if isinstance(given, dict) else None
    if not isinstance(content, str) or not 0 < len(content) <= 256:
        raise UserError(f"{path}: '{brief(given)}' is no special token")
    marks = {key: given[key] for key in _MARKS if isinstance(given.get(key), bool)}
    return AddedToken(content, **marks)


_MISLEADING = {
    # Said while a module is being activated, before it is active.
    "adapters.model_mixin": "none are activated for the forward pass",
    # Every local tokenizer is taken for a Mistral one with a wrong pattern.
    "transformers.tokenization_utils_base": "fix_mistral_regex",
    # The pooler may be newly initialised: no head here reads it.
    "transformers.modeling_utils": "pooler",
}


@functools.cache
def quieten() -> None:
    """Leaves out, from now on, the notes of libraries that would mislead."""
    for name, text in _MISLEADING.items():
        logging.getLogger(name).addFilter(functools.partial(_is_other, text))


def _is_other(text: str, record: logging.LogRecord) -> bool:
    return text not in record.getMessage()
