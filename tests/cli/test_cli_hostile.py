"""A stranger's backbone runs no code, whichever command meets it and wherever it is named."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import hostile
from adapter_stilts.zoo.record import RECORD, ModuleRecord
from cli_kit import Result, assert_one_line
from fusion_kit import save_fused
from hub_kit import connect, files_of
from made_modules import make_engine
from writable_hub import WRITER, Hub, serving

Run = Callable[..., Result]
BOTH_CVES = ("lightglue", "kernel")

NAMED: dict[str, tuple[str, ...]] = {
    "train-adapter": ("train-adapter", "squad", "--data", "sample"),
    "train-target": ("train-target", "xnli", "--data", "sample"),
    "train-target --on": ("train-target", "tydiqa", "--on", "squad", "--data", "sample"),
    "train-language": ("train-language", "sw", "--text", "text.txt"),
    "train-multitask": ("train-multitask", "--tasks", "squad,mnli", "--data", "sample"),
    "fuse": ("fuse", "squad", "qa-all", "--target", "tydiqa", "--data", "sample"),
    "merge": ("merge", "qa-all", "pos", "--out", "merged"),
    "predict": ("predict", "--with", "squad", "--question", "Who?", "--context", "Ada."),
    "evaluate": ("evaluate", "tiny-qa", "--with", "squad", "--data", "data", "--langs", "en"),
    "evaluate none": ("evaluate", "tatoeba", "--with", "none", "--data", "data", "--langs", "de"),
    "explain": ("explain", "f", "--task", "tiny-qa", "--data", "data", "--langs", "en"),
    "serve": ("serve", "--with", "squad", "--port", "0"),
    "serve --zoo": ("serve", "--zoo", "--with", "squad", "--port", "0"),
}
"""Commands that take `--backbone`."""

RECORDED = {
    name: command
    for name, command in NAMED.items()
    if name not in ("train-adapter", "train-target", "train-language", "train-multitask")
    and name != "evaluate none"
} | {
    "zoo verify": ("zoo", "verify", "squad", "--json"),
    "zoo verify --scores": ("zoo", "verify", "squad", "--scores", "--data", "sample", "--json"),
}
"""Commands that go where a module's record says."""

READING = {
    "zoo show": ("zoo", "show", "squad"),
    "zoo list": ("zoo", "list"),
    "zoo export": ("zoo", "export", "squad", "--out", "out", "--format", "adapters"),
    "zoo readme": ("zoo", "readme", "zoo"),
    "zoo verify --quick": ("zoo", "verify", "squad", "--quick"),
    "push": ("push", "squad", "--to", "someone/squad", "--backbone", "tiny/plain"),
}
"""Commands that need no backbone, and must not look into one."""


@pytest.fixture(autouse=True)
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails where the library would import a repository of kernels."""
    loaded: list[str] = []
    monkeypatch.setattr("transformers.modeling_utils.load_and_register_kernel", loaded.append)
    yield
    assert not loaded


@pytest.fixture(scope="module")
def fused_zoo(made_zoo: Path, tiny_xlmr: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made zoo with `f`, which fuses two of its modules."""
    zoo = tmp_path_factory.mktemp("fused") / "zoo"
    shutil.copytree(made_zoo, zoo)
    engine = make_engine(str(tiny_xlmr))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADSTILTS_ZOO", str(zoo))
        folder = zoo / "tiny" / "f"
        save_fused(engine, "f", ["squad", "qa-all"], "lean", "span", folder, run="f" * 16)
    return zoo


@pytest.fixture
def place(
    run: Run, tiny: Path, fused_zoo: Path, zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The working folder with a zoo of its own; `f` fuses two modules."""
    shutil.copytree(fused_zoo, zoo)
    monkeypatch.setenv("ADSTILTS_ZOO", str(zoo))
    fusion = ModuleRecord.read(zoo / "tiny" / "f")
    bases = {
        name: {**base, "path": str(zoo / "tiny" / name)} for name, base in fusion.bases.items()
    }
    dataclasses.replace(fusion, bases=bases).write(zoo / "tiny" / "f")
    for side in ("deu", "eng"):
        (tiny / "data" / f"tatoeba.deu-eng.{side}").write_text("one\ntwo\n")
    (tiny / "text.txt").write_text("".join(f"the old town is number {n}\n" for n in range(30)))
    return tiny


def rename_backbone(zoo: Path, name: str) -> None:
    """Makes every record name that backbone."""
    for path in zoo.rglob(RECORD):
        record = ModuleRecord.read(path.parent)
        dataclasses.replace(record, backbone={**record.backbone, "name": name}).write(path.parent)


def assert_refused(result: Result, field: str) -> None:
    """One line, and no code has run."""
    assert hostile.MARK not in result[1] + result[2]
    assert_one_line(result, 2, field)


@pytest.mark.parametrize("kind", BOTH_CVES)
@pytest.mark.parametrize("command", NAMED)
def test_backbone_on_the_command_line(
    run: Run, place: Path, tiny_xlmr: Path, command: str, kind: str
) -> None:
    folder = hostile.spoil(tiny_xlmr, place / "hostile", kind)
    result = run(*NAMED[command], "--backbone", str(folder))
    assert_refused(result, hostile.KINDS[kind][1])


@pytest.mark.parametrize("kind", BOTH_CVES)
@pytest.mark.parametrize("command", RECORDED)
def test_backbone_in_a_record(
    run: Run, place: Path, zoo: Path, tiny_xlmr: Path, command: str, kind: str
) -> None:
    rename_backbone(zoo, str(hostile.spoil(tiny_xlmr, place / "hostile", kind)))
    result = run(*RECORDED[command])
    field = hostile.KINDS[kind][1]
    if command.startswith("zoo verify"):
        assert result[0] == 1 and field in result[1] + result[2]
        assert hostile.MARK not in result[1] + result[2]
    else:
        assert_refused(result, field)


@pytest.fixture
def hub(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty Hub."""
    with serving() as found:
        connect(monkeypatch, found.url, tmp_path / "hf", WRITER)
        yield found


@pytest.mark.parametrize("kind", hostile.KINDS)
@pytest.mark.parametrize("command", ["predict", "merge", "serve"])
def test_backbone_of_the_hub_is_refused_before_its_weights(
    run: Run, hub: Hub, place: Path, zoo: Path, tiny_xlmr: Path, command: str, kind: str
) -> None:
    hub.add("someone/hostile", files_of(hostile.spoil(tiny_xlmr, place / "hostile", kind)))
    rename_backbone(zoo, "someone/hostile")
    assert_refused(run(*RECORDED[command]), hostile.KINDS[kind][1])
    assert any("config.json" in entry for entry in hub.asked)
    assert not any("safetensors" in entry or "/large/" in entry for entry in hub.asked)
    assert not any(".py" in entry for entry in hub.asked)


def test_a_pulled_module_names_a_hostile_backbone(
    run: Run, hub: Hub, place: Path, zoo: Path, tiny_xlmr: Path
) -> None:
    hub.add("someone/hostile", files_of(hostile.spoil(tiny_xlmr, place / "hostile", "lightglue")))
    rename_backbone(zoo, "someone/hostile")
    hub.add("someone/squad", files_of(zoo / "tiny" / "squad"))
    assert run("pull", "someone/squad")[0] == 0  # a module is no backbone: nothing is loaded
    assert_refused(
        run("predict", "--with", "someone/squad", "--question", "Who?", "--context", "Ada."),
        "trust_remote_code",
    )


@pytest.mark.parametrize("command", READING)
def test_commands_that_need_no_backbone(
    run: Run, hub: Hub, place: Path, zoo: Path, tiny_xlmr: Path, command: str
) -> None:
    folder = hostile.spoil(tiny_xlmr, place / "hostile", "lightglue")
    rename_backbone(zoo, str(folder))
    result = run(*READING[command])
    assert result[0] == 0, result
    assert hostile.MARK not in result[1] + result[2]


def test_a_good_copy_is_accepted(run: Run, place: Path, tiny_xlmr: Path) -> None:
    """What the tests above spoil would have worked."""
    copy = shutil.copytree(tiny_xlmr, place / "good")
    for command in ("predict", "merge"):
        code, _, err = run(*NAMED[command], "--backbone", str(copy))
        assert code == 0, err


def test_kernels_installed_are_asked_for_nothing(place: Path, tiny_xlmr: Path) -> None:
    """The second CVE in earnest: beside a package `kernels`, in a process of its own."""
    package = place / "packages" / "kernels"
    package.mkdir(parents=True)
    # What transformers imports of it; the last one fetches a repository and imports that.
    names = "Device = LayerRepository = register_kernel_mapping = _Anything"
    names += "\nreplace_kernel_forward_from_hub = use_kernel_forward_from_hub = _Anything"
    (package / "__init__.py").write_text(
        "import enum\n"
        "Mode = enum.IntFlag('Mode', 'INFERENCE TRAINING TORCH_COMPILE FALLBACK')\n"
        "class _Anything:\n"
        "    def __init__(self, *args, **kwargs): pass\n"
        "    def __call__(self, it): return it\n"
        f"{names}\n"
        f"def get_kernel(*args, **kwargs): print({hostile.MARK!r}, flush=True)\n"
    )
    about = place / "packages" / "kernels-0.9.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: kernels\nVersion: 0.9.0\n")
    folder = hostile.spoil(tiny_xlmr, place / "hostile", "kernel")
    done = subprocess.run(
        [sys.executable, "-m", "adapter_stilts", *NAMED["merge"], "--backbone", str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(package.parent)])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert_refused((done.returncode, done.stdout, done.stderr), "_attn_implementation_internal")
