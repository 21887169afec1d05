"""Asks shipped modules about texts in several languages, then trains a small one.

python examples/demo.py
"""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from adapter_stilts import Module, load, train_adapter
from adapter_stilts.paths import zoo_dir

ZOO = Path(__file__).resolve().parents[1] / "adapters_zoo" / "embedded"

TEXTS = {
    "English": (
        "The stone bridge across the river was designed by Elena Petrova and opened in "
        "1932. It is 340 metres long and carries trams as well as pedestrians.",
        "Who designed the bridge?",
        "Elena Petrova",
    ),
    "German": (
        "Das Museum für Uhren liegt in der Altstadt von Görlitz. Es wurde 1987 von der "
        "Uhrmacherin Paula Brandt gegründet und zeigt mehr als 900 Uhren aus vier "
        "Jahrhunderten.",
        "Wie viele Uhren zeigt das Museum?",
        "900",
    ),
    "French": (
        "La bibliothèque de Vannes a rouvert en mars après deux ans de travaux. "
        "L'architecte Claire Morel a ajouté une terrasse et une salle de lecture pour les "
        "enfants.",
        "Combien de temps ont duré les travaux ?",
        "deux ans",
    ),
    "Spanish": (
        "El faro de la isla fue construido en 1871 por el ingeniero Tomás Rivas. Su luz se "
        "ve desde una distancia de 40 kilómetros.",
        "¿Quién construyó el faro?",
        "Tomás Rivas",
    ),
    "Portuguese": (
        "A padaria da Rua Nova abre às seis horas da manhã. O padeiro João Matos faz pão "
        "de milho desde 1998.",
        "A que horas abre a padaria?",
        "seis horas da manhã",
    ),
    "Russian": (
        "Ботанический сад был основан в 1893 году профессором Иваном Соколовым. Сегодня в "
        "нём растут более двух тысяч видов растений.",
        "Когда был основан сад?",
        "1893",
    ),
    "Greek": (
        "Το θέατρο άνοιξε το 1936 στην Πάτρα. Το σχεδίασε η αρχιτέκτονας Ελένη Παππά.",
        "Πού άνοιξε το θέατρο;",
        "Πάτρα",
    ),
    "Turkish": (
        "Köprü 1954 yılında mimar Selim Aydın tarafından yapıldı. Uzunluğu 220 metredir ve "
        "şehrin iki yakasını birbirine bağlar.",
        "Köprünün uzunluğu kaç metredir?",
        "220",
    ),
    "Finnish": (
        "Vanhan majakan suunnitteli arkkitehti Aino Lehtonen vuonna 1897. Majakka on 31 "
        "metriä korkea.",
        "Kuka suunnitteli majakan?",
        "Aino Lehtonen",
    ),
    "Vietnamese": (
        "Nhà hát của thành phố được xây dựng năm 1911 bởi kiến trúc sư Trần Văn Minh. Nhà "
        "hát có 600 chỗ ngồi.",
        "Nhà hát có bao nhiêu chỗ ngồi?",
        "600",
    ),
    "Chinese": (
        "这座图书馆于1956年建成，由建筑师李文华设计。馆内收藏了三十万册图书。",
        "谁设计了这座图书馆？",
        "李文华",
    ),
    "Japanese": (
        "この橋は1928年に建築家の山田太郎によって設計された。長さは180メートルで、毎日多くの人が渡る。",
        "橋の長さは何メートルですか。",
        "180メートル",
    ),
    "Korean": (
        "이 박물관은 1975년에 부산에서 문을 열었다. 박물관에는 도자기 4,000점이 전시되어 있다.",
        "박물관은 어디에서 문을 열었나요?",
        "부산",
    ),
    "Arabic": (
        "بُني الجسر القديم عام 1905 على يد المهندس سمير حداد. يبلغ طول الجسر 150 متراً.",
        "من بنى الجسر القديم؟",
        "المهندس سمير حداد",
    ),
    "Hindi": (
        "इस पुस्तकालय की स्थापना 1921 में डॉ. मीरा शर्मा ने की थी। यहाँ पचास हज़ार किताबें हैं।",
        "पुस्तकालय में कितनी किताबें हैं?",
        "पचास हज़ार",
    ),
    "Swahili": (
        "Shule hiyo ilifunguliwa mwaka 1964 na mwalimu Asha Juma mjini Tanga. Sasa ina "
        "wanafunzi 800.",
        "Shule ilifunguliwa mwaka gani?",
        "1964",
    ),
    "Thai": (
        "พิพิธภัณฑ์แห่งนี้เปิดเมื่อปี 1969 โดยนายสมชาย ใจดี ในจังหวัดเชียงใหม่",
        "ใครเปิดพิพิธภัณฑ์แห่งนี้",
        "นายสมชาย ใจดี",
    ),
}
"""By language: a text, a question about it, and what the module says."""

PAIRS = (
    (
        "Spanish",
        "¿Cómo puedo aprender a tocar la guitarra?",
        "¿Cuál es la mejor manera de aprender guitarra?",
        "duplicate",
    ),
    ("German", "Wie nehme ich ab?", "Wie kann ich abnehmen?", "duplicate"),
    ("German", "Wie kann ich schnell abnehmen?", "Wie backe ich einen Kuchen?", "not_duplicate"),
)
"""A language, two questions, and whether the module takes them for the same one."""


SENTENCES = {
    "English": "She reads old letters in the garden .",
    "German": "Sie liest alte Briefe im Garten .",
    "Spanish": "Ella lee cartas viejas en el jardín .",
}
"""Words to be tagged by the module that is trained here."""


def answer(console: Console) -> None:
    """Questions about texts, put to a shipped module."""
    squad = load(ZOO / "squad")  # by its folder: a name is looked for in your own zoo first
    table = Table("language", box=None, pad_edge=False)
    table.add_column("text, and question", overflow="fold")
    table.add_column("answer")
    for language, (text, question, _) in TEXTS.items():
        found = squad.answer(question, text)["answer"]
        table.add_row(language, f"{text}\n[bold]{question}[/bold]\n", f"[bold]{found}[/bold]")
    console.print(
        f"Question answering in {len(TEXTS)} languages, learnt in English alone, from "
        f"{squad.record.data['train']['examples']:,} questions "
        f"({squad.record.parameters:,} parameters; dev F1 {squad.record.scores['f1']:.1f}):\n"
    )
    console.print(table)
    console.print(
        "These texts are easy, and the last answer, in Thai, is longer than it should be. On "
        "XQuAD, F1 is 70 in English and 45 to 60 in nine others (docs/results/zoo.md).\n"
    )


def compare(console: Console) -> None:
    """Pairs of questions, put to another shipped module."""
    qqp = load(ZOO / "qqp")
    table = Table("language", "question", "another", "it says", box=None, pad_edge=False)
    for language, first, second, _ in PAIRS:
        label, share = next(iter(qqp.classify(first, second).items()))
        table.add_row(language, first, second, f"{label} ({share:.0%})")
    console.print(
        "Are two questions the same? Learnt in English alone, from "
        f"{qqp.record.data['train']['examples']:,} pairs "
        f"(dev accuracy {qqp.record.scores['accuracy']:.1f}):\n"
    )
    console.print(table)


def train(console: Console) -> Module:
    """A module for CCG supertagging, from the bundled sentences."""
    console.print(
        "\nNow one is trained: an adapter for CCG supertagging, which gives every word its "
        "grammatical category, on 145 bundled English sentences. This takes one to three minutes "
        "on two cores; the bar shows the time that is left.\n"
    )
    trained = train_adapter(
        "ccg",
        backbone="embedded",
        data="sample",
        recipe="demo",
        lr=5e-3,
        out=zoo_dir() / "embedded" / "ccg-demo",
        overwrite=True,
    )
    record = trained.record
    console.print(
        f"\nOf {record.data['dev']['examples']} other sentences it tags "
        f"{record.scores['tag_accuracy']:.1f} % of the words as a linguist did, from "
        f"{record.data['labels']} categories ({record.seconds:.0f} seconds). It lies in "
        f"{trained.path}. Untrained in them, it also reads other languages:\n"
    )
    return load(trained.path)


def tag(console: Console, ccg: Module) -> None:
    """Words and their categories, in three languages."""
    table = Table("language", "tags", box=None, pad_edge=False)
    for language, words in SENTENCES.items():
        tags = ccg.tag(words.split())
        table.add_row(language, escape(" ".join(f"{word}|{found}" for word, found in tags)))
    console.print(table)


def main() -> None:
    """What shipped modules say, what training one is like, and what it says then."""
    console = Console(highlight=False)
    console.width = min(console.width, 112)
    began = time.perf_counter()
    answer(console)
    compare(console)
    tag(console, train(console))
    console.print(
        f"\n{time.perf_counter() - began:.0f} seconds.\n\n"
        'Ask more:     adstilts predict --with squad --question "..." --context "..."\n'
        "All there is: adstilts zoo list\n"
        "Train one:    adstilts train-adapter squad --backbone embedded --data sample --recipe demo"
    )


if __name__ == "__main__":
    main()
