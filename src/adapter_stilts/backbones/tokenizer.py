"""A backbone's tokenizer, built from its `tokenizer.json` by a closed list of classes and parts.

`AutoTokenizer.from_pretrained` is not used: files of the folder could name a class of their own,
other files, or templates. And `tokenizers` builds whatever a file describes: regular expressions
of which some never end, replacements that let a text grow without bound, vocabularies larger than
the embeddings. What is accepted here covers what XLM-R, BERT, RoBERTa and their kin have.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import logging
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from adapter_stilts.backbones.configuration import read_object
from adapter_stilts.errors import UserError
from adapter_stilts.safety import brief, first_line, is_count, is_number, once, read_text

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


def read_options(folder: Path, model_type: str) -> dict[str, Any]:
    """What a folder's small files say of the tokenizer, checked: its class, and what that takes.

    Refuses those that are no JSON, name code or a class of their own, or make no sense.
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
    """The tokenizer of checked files, of so many pieces at most; refuses what is not accepted.

    `model_type` is the backbone's, for a folder that does not name a class.
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
    """Refuses a tokenizer without a token that is needed, or with one that has no embedding."""
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
    if not isinstance(given, dict) or len(given) > _MAX_ADDED:
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
    if not isinstance(extra, list) or len(extra) > _MAX_ADDED:
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


MAX_FILE = 96 << 20
"""Bytes; XLM-R's has 9 MB, that of a vocabulary of a million pieces 45 MB."""

# fmt: off
PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "normalizer": (
            "BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled",
            "Prepend", "Replace", "Sequence", "Strip", "StripAccents",
        ),
        "pre_tokenizer": (
            "BertPreTokenizer", "ByteLevel", "Digits", "Metaspace", "Punctuation", "Sequence",
            "Whitespace", "WhitespaceSplit",
        ),
        "post_processor": (
            "BertProcessing", "ByteLevel", "RobertaProcessing", "Sequence", "TemplateProcessing",
        ),
        "decoder": (
            "BPEDecoder", "ByteFallback", "ByteLevel", "Fuse", "Metaspace", "Replace", "Sequence",
            "Strip", "WordPiece",
        ),
        "model": ("BPE", "Unigram", "WordLevel", "WordPiece"),
    }
)
# fmt: on
"""The kinds of each part that are accepted."""

_REGEXES = (" {2,}", " +", r"\s+", r"\s{2,}")
"""Those of converted sentencepiece models. Any other might take for ever on the right text."""

_MAX_STEPS, _MAX_PIECE, _MAX_ADDED, _MAX_WORD, _MAX_SPECIALS = 16, 256, 10_000, 1000, 16
_MAX_REPLACEMENT = 128
"""Bytes for a cluster in a compiled table: NFKC's longest, U+FDFA, has 33."""


class _StrangeError(ValueError):
    """What is wrong with the file."""


def check_file(path: Path, pieces: int) -> None:
    """Refuses a tokenizer file with something strange in it, or more pieces than embeddings."""
    text = read_text(path, kind="JSON", limit=MAX_FILE)
    try:
        content = json.loads(text, object_pairs_hook=once, parse_constant=_no_number)
        _check(content, pieces)
    except (ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{path}: no tokenizer that is accepted ({first_line(error)})") from error


def _no_number(name: str) -> NoReturn:
    raise _StrangeError(f"{name} is no JSON number")


def _demand(fine: bool, what: str) -> None:
    if not fine:
        raise _StrangeError(what)


def _check(content: Any, pieces: int) -> None:
    _demand(isinstance(content, dict), "expected an object")
    for part, kinds in PARTS.items():
        given = content.get(part)
        steps = list(_steps(given)) if given is not None else []
        _demand(given is not None or part != "model", "it has no model")
        _demand(len(steps) <= _MAX_STEPS, f"{part} has more than {_MAX_STEPS} steps")
        for step in steps:
            kind = step.get("type")
            _demand(isinstance(kind, str) and kind in kinds, f"{part} of kind '{brief(kind)}'")
            _check_step(part, step)
    _check_model(content["model"], pieces)
    _check_added(content.get("added_tokens") or [], pieces)


def _steps(part: Any) -> Iterator[dict[str, Any]]:
    """The part itself, or what a sequence consists of, without recursion."""
    waiting = [part]
    while waiting:
        each = waiting.pop()
        if not isinstance(each, dict):
            raise _StrangeError("expected an object for each part")
        yield each
        for inner in ("normalizers", "pretokenizers", "processors", "decoders"):
            if each.get("type") == "Sequence" and isinstance(each.get(inner), list):
                waiting.extend(each[inner])
        _demand(len(waiting) <= _MAX_STEPS, f"more than {_MAX_STEPS} steps")


def _check_step(part: str, step: Mapping[str, Any]) -> None:
    kind = step["type"]
    if kind == "Replace":
        _check_replacement(step, grows=part == "decoder")
    elif kind == "Prepend":
        text = step.get("prepend")
        _demand(isinstance(text, str) and len(text) <= 4, "it puts a long text before each")
    elif kind == "Precompiled":
        _check_table(step.get("precompiled_charsmap"))
    elif kind == "TemplateProcessing":
        _check_template(step)


def _check_replacement(step: Mapping[str, Any], *, grows: bool) -> None:
    pattern, content = step.get("pattern"), step.get("content")
    if not isinstance(pattern, dict) or len(pattern) != 1 or not isinstance(content, str):
        raise _StrangeError("a replacement without pattern and content")
    ((how, what),) = pattern.items()
    fine = isinstance(what, str) and (how == "String" or (how == "Regex" and what in _REGEXES))
    _demand(fine, f"the pattern '{brief(what)}', which might never end")
    longest = len(what) if how == "String" else 1
    _demand(bool(what) and (grows or len(content) <= longest), "a replacement that is longer")


def _check_table(given: Any) -> None:
    """Sentencepiece's: the size of a trie, the trie, then texts that end with a zero byte."""
    try:
        table = base64.b64decode(given, validate=True) if isinstance(given, str) else b""
    except binascii.Error as error:
        raise _StrangeError("its normalisation table is damaged") from error
    (size,) = struct.unpack("<I", table[:4]) if len(table) >= 4 else (0,)
    _demand(
        size >= 4 and size % 4 == 0 and 4 + size <= len(table), "its normalisation table is damaged"
    )
    texts = table[4 + size :]
    _demand(
        all(len(text) <= _MAX_REPLACEMENT for text in texts.split(b"\0")),
        "its normalisation table makes long texts of single characters",
    )


def _check_template(step: Mapping[str, Any]) -> None:
    specials = step.get("special_tokens")
    _demand(isinstance(specials, dict), "a template without special tokens")
    count = 0
    for about in (specials or {}).values():
        ids = about.get("ids") if isinstance(about, dict) else None
        _demand(isinstance(ids, list), "a template without ids")
        count = max(count, len(ids or []))
    _demand(count <= 1, "a template with several pieces for one special token")
    for name in ("single", "pair"):
        parts = step.get(name)
        _demand(
            isinstance(parts, list) and len(parts) <= _MAX_SPECIALS,
            "a template with too many special tokens",
        )


def _check_model(model: Mapping[str, Any], pieces: int) -> None:
    vocabulary = model.get("vocab")
    if model["type"] == "Unigram":
        names = _scored(vocabulary)
        ids = list(range(len(names)))
    else:
        if not isinstance(vocabulary, dict):
            raise _StrangeError("its vocabulary is no object")
        names, ids = list(vocabulary), list(vocabulary.values())
    _demand(len(names) <= pieces, f"{len(names)} pieces, for which {pieces} embeddings are there")
    _demand(all(is_count(each, pieces - 1) for each in ids), f"an id above {pieces - 1}")
    _demand(max(map(len, names), default=0) <= _MAX_PIECE, "a piece that is very long")
    _demand(not model.get("dropout"), "a model that leaves out merges by chance")
    longest = model.get("max_input_chars_per_word", 100)
    _demand(is_count(longest, _MAX_WORD), "a word's limit that is very long")


def _scored(vocabulary: Any) -> list[str]:
    """The pieces of a list of pieces with scores."""
    _demand(isinstance(vocabulary, list), "its vocabulary is no list")
    pairs = all(
        isinstance(each, list)
        and len(each) == 2
        and isinstance(each[0], str)
        and isinstance(each[1], float | int)
        for each in vocabulary
    )
    _demand(pairs, "its vocabulary is no list of pieces with scores")
    return [each[0] for each in vocabulary]


def _check_added(tokens: Any, pieces: int) -> None:
    fine = isinstance(tokens, list) and len(tokens) <= _MAX_ADDED
    _demand(fine, f"'added_tokens' is no list of at most {_MAX_ADDED}")
    for each in tokens:
        content = each.get("content") if isinstance(each, dict) else None
        _demand(
            isinstance(content, str) and 0 < len(content) <= _MAX_PIECE, "an added token of no use"
        )
        _demand(
            is_count(each.get("id"), pieces - 1), f"an added token with an id above {pieces - 1}"
        )
