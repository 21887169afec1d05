"""Module folders of strangers: whatever is in them, a user gets one line, and no trunk changes."""

from __future__ import annotations

import copy
import json
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import AutoAdapterModel, SeqBnInvConfig
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from adapter_stilts.engine.engine import Engine
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.hub.guard import RemoteFile
from adapter_stilts.safety import printable
from adapter_stilts.zoo.adopt import Offer, adopt
from adapter_stilts.zoo.find import fields, list_modules
from adapter_stilts.zoo.local import load_composition, load_module
from adapter_stilts.zoo.push import export
from adapter_stilts.zoo.resolve import resolve_folder
from adapter_stilts.zoo.verify import verify
from fuzz_kit import members_of, rehash
from fuzz_zoo import save_fusion
from made_modules import make_engine, save_made

DEEP = 50_000
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1,
    3,
    2**31,
    2**63,
    10**30,
    1e-9,
    1e308,
    "",
    "x",
    "lora",
    "..",
    "../../x",
    "/etc/passwd",
    "C:\\x",
    "\x1b[2J\x1b]0;x\x07",
    "a\u202eb",
    "x" * 300_000,
    [],
    {},
    [0, -1, 10**9],
    ["q", "q", 7],
    {"default": 1e-9},
    {"a": {"b": [1]}},
]
RAW = ["NaN", "Infinity", "1e999", "9" * 5000, "[" * DEEP + "]" * DEEP, '"\\ud800"', "{", ""]
"""Texts in place of a value, some of them no JSON."""

TRUNK = "roberta.encoder.layer.0.attention.self.query.weight"
Act = tuple[str, int, int]
"""What to do, which file or place, and with what."""

ACTS = (
    *["json"] * 12,
    *["drop"] * 4,
    *["header"] * 4,
    "raw",
    "truncate",
    "flip",
    "delete",
    "empty",
    "swap",
    "link",
    "folder",
    "pickle",
    "name",
)
acts = st.lists(
    st.tuples(st.sampled_from(ACTS), st.integers(0, 10**6), st.integers(0, 10**6)),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def kinds(tiny_xlmr: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    """A LoRA, bottleneck module, merge, one for sentence vectors, a foreign one, and a fusion."""
    root = tmp_path_factory.mktemp("fuzz")
    engine = make_engine(str(tiny_xlmr))
    save_made(engine, "mnli-lora", "lora", "classification", root / "lora")
    save_made(engine, "squad", "bottleneck", "span", root / "bottleneck")
    merged: dict[str, Any] = {
        "how": "ties",
        "expression": "ties(squad, mnli)",
        "weights": {"squad": 1, "mnli": 2},
    }
    merged["sources"] = {
        name: {"run": name * 4, "path": f"/zoo/{name}", "task": name} for name in ("squad", "mnli")
    }
    save_made(engine, "mix", "bottleneck", "span", root / "merged", merged=merged, scores={})
    save_made(engine, "vectors", "ia3", "embedding", root / "vectors")
    model = AutoAdapterModel.from_pretrained(tiny_xlmr)
    model.add_adapter("sw", config=SeqBnInvConfig())
    model.add_classification_head("sw", num_labels=2)
    model.save_adapter(str(root / "foreign"), "sw", use_safetensors=True)
    save_fusion(engine, root)
    names = ("lora", "bottleneck", "vectors", "foreign", "fusion", "merged")
    return [(each, root / each) for each in names]


class Spoiler:
    """Changes a module's folder as it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def act(self, act: Act) -> None:
        what, where, how = act
        files = self._files()
        if what in ("json", "drop", "raw"):
            files = [path for path in files if path.suffix == ".json"] or files
        if files:
            getattr(self, f"_{what}")(files[where % len(files)], where // 7, how)

    def _files(self) -> list[Path]:
        """No links: what they lead to is not to be written."""
        found = self.folder.rglob("*")
        return sorted(path for path in found if path.is_file() and not path.is_symlink())

    def _json(self, path: Path, where: int, how: int) -> None:
        value = VALUES[how % len(VALUES)]
        self._edit(path, where, lambda parent, key: parent.__setitem__(key, value))

    def _drop(self, path: Path, where: int, how: int) -> None:
        self._edit(path, where, lambda parent, key: parent.__delitem__(key))

    def _edit(self, path: Path, where: int, change: Callable[[Any, Any], None]) -> None:
        with suppress(ValueError, RecursionError, OSError):
            value = json.loads(path.read_text("utf-8"))
            places = list(members_of(value))
            if places:
                change(*places[where % len(places)])
                path.write_text(json.dumps(copy.deepcopy(value)), "utf-8")

    def _raw(self, path: Path, where: int, how: int) -> None:
        text = path.read_bytes()
        marks = [place for place, byte in enumerate(text) if byte == ord(":")]
        if path.suffix == ".json" and marks:
            cut = marks[where % len(marks)] + 1
            ends = [text.find(mark, cut) for mark in (b",", b"}")]
            end = min((end for end in ends if end > 0), default=len(text))
            path.write_bytes(text[:cut] + RAW[how % len(RAW)].encode() + text[end:])
        else:
            path.write_text(RAW[how % len(RAW)])

    def _truncate(self, path: Path, where: int, how: int) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: how % (len(content) + 1)])

    def _flip(self, path: Path, where: int, how: int) -> None:
        content = bytearray(path.read_bytes())
        if content:
            content[where % min(len(content), 3000)] ^= 1 + how % 255
            path.write_bytes(bytes(content))

    def _delete(self, path: Path, where: int, how: int) -> None:
        path.unlink()

    def _empty(self, path: Path, where: int, how: int) -> None:
        path.write_bytes(b"")

    def _swap(self, path: Path, where: int, how: int) -> None:
        files = self._files()
        path.write_bytes(files[how % len(files)].read_bytes())

    def _link(self, path: Path, where: int, how: int) -> None:
        path.unlink()
        secret = self.folder.parent / "secret"
        secret.write_text("secret")
        targets = ("/dev/zero", str(secret), str(self.folder), "/nowhere", path.name)
        path.symlink_to(targets[how % len(targets)])

    def _folder(self, path: Path, where: int, how: int) -> None:
        path.unlink()
        path.mkdir()

    def _header(self, path: Path, where: int, how: int) -> None:
        """Shapes, types and names in the header of a weights file."""
        path = min([each for each in self._files() if each.suffix == ".safetensors"] or [path])
        with suppress(ValueError, struct.error, OSError):
            content = path.read_bytes()
            (size,) = struct.unpack("<Q", content[:8])
            header = json.loads(content[8 : 8 + size])
            names = sorted(header)
            name = names[where % len(names)]
            changes: list[Callable[[], Any]] = [
                lambda: header[name].update(shape=[2**40, 2**40]),
                lambda: header[name].update(shape=header[name]["shape"][::-1]),
                lambda: header[name].update(dtype="I64"),
                lambda: header[name].update(data_offsets=[0, 2**60]),
                lambda: header.update({TRUNK: header.pop(name)}),
                lambda: header.update({name.replace("0", "99"): header.pop(name)}),
                lambda: header.pop(name),
            ]
            with suppress(KeyError, TypeError, AttributeError):
                changes[how % len(changes)]()
            written = json.dumps(header).encode()
            path.write_bytes(struct.pack("<Q", len(written)) + written + content[8 + size :])

    def _pickle(self, path: Path, where: int, how: int) -> None:
        torch.save({"x": torch.zeros(1)}, path.with_suffix(".bin"))
        path.unlink()

    def _name(self, path: Path, where: int, how: int) -> None:
        names = ("con.json", "\x1b[31m.json", "a" * 200 + ".json", "x\n.md")
        path.rename(path.with_name(names[how % len(names)]))


class Victim:
    """An engine whose trunk must stay as it was."""

    def __init__(self, backbone: str) -> None:
        self._backbone = backbone
        self.engine: Engine = make_engine(backbone)
        self._trunk = self._weights()

    def _weights(self) -> dict[str, torch.Tensor]:
        return {
            key: value.clone()
            for key, value in self.engine.model.state_dict().items()
            if not any(part in key for part in ("adapter", "loras.", "heads.", "prompt"))
        }

    def check(self) -> None:
        """Nothing of the trunk has changed; what was loaded is taken out again."""
        now = self.engine.model.state_dict()
        assert all(torch.equal(value, now[key]) for key, value in self._trunk.items())
        left = [*self.engine.model.adapters_config.adapters, *self.engine.model.heads]
        if left:
            self.engine = make_engine(self._backbone)


@pytest.fixture(scope="module")
def victim(tiny_xlmr: Path) -> Victim:
    return Victim(str(tiny_xlmr))


def use(folder: Path, engine: Engine, kind: str) -> list[str]:
    """All that is done with a stranger's folder; what the user is told."""
    calls: list[Callable[[], object]] = [
        lambda: adopt(_offer(folder), _copied(folder)),
        lambda: [check.detail for check in verify(folder, load=False)],
        lambda: resolve_folder(folder),
        lambda: load_composition(engine, str(folder)),
    ]
    if kind != "fusion":  # which needs its modules, and no other library can load
        calls.append(lambda: export(folder, folder.parent / "exported", overwrite=True))
        calls.append(lambda: share(folder, folder.parent / "shared"))
        calls.append(lambda: load_module(engine, folder, name="again"))
    said = []
    for call in calls[:1] if kind == "foreign" else calls:
        try:
            call()
        except (UserError, FailureError) as error:
            said.append(str(error))
    return said


def share(folder: Path, out: Path) -> Path:
    """Writes the module as it would be pushed, with a new card."""
    return export(folder, out, library="module", backbone="tiny/plain", overwrite=True)


def _copied(folder: Path) -> Path:
    return Path(shutil.copytree(folder, folder.parent / "adopted", symlinks=True))


def _offer(folder: Path) -> Offer:
    files = {path.relative_to(folder).as_posix(): RemoteFile(1) for path in folder.rglob("*")}
    return Offer("someone/thing", "a" * 40, files)


def attack(
    kinds: list[tuple[str, Path]],
    victim: Victim,
    root: Path,
    kind: int,
    done: list[Act],
    consistent: bool,
) -> None:
    name, source = kinds[kind]
    shutil.rmtree(root, ignore_errors=True)
    folder = Path(shutil.copytree(source, root / "zoo" / "tiny" / "module"))
    spoiler = Spoiler(folder)
    for act in done:
        spoiler.act(act)
    if consistent:
        rehash(folder)
    for line in use(folder, victim.engine, name):
        shown = printable(" ".join(line.split()))
        assert "\x1b" not in shown and "\u202e" not in shown
        assert len(shown) < 2000
    victim.check()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADSTILTS_ZOO", str(root / "zoo"))
        patch.setenv("ADSTILTS_PULLED", str(root / "pulled"))
        json.dumps([fields(entry) for entry in list_modules()])


def fuzz(examples: int) -> Any:
    """The same test, over so many folders."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 5), acts, st.booleans())
    def run(
        kinds: list[tuple[str, Path]],
        victim: Victim,
        tmp_path: Path,
        kind: int,
        done: list[Act],
        consistent: bool,
    ) -> None:
        attack(kinds, victim, tmp_path / "attack", kind, done, consistent)

    return run


test_mutated_folders = fuzz(60)
test_ten_thousand_mutated_folders = pytest.mark.slow(pytest.mark.timeout(3600)(fuzz(10_000)))


def test_untouched_modules_pass(
    kinds: list[tuple[str, Path]], victim: Victim, tmp_path: Path
) -> None:
    """The fuzzing would be blind if everything were refused anyway."""
    for place, (name, source) in enumerate(kinds):
        folder = Path(shutil.copytree(source, tmp_path / str(place) / "module"))
        assert use(folder, victim.engine, name) == []
        victim.check()
