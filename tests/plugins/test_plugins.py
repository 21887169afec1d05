"""Plug-ins of a user's own: what they add works, and what is wrong with one is said."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import adapter_stilts as ads
from adapter_stilts import plugins as loading
from adapter_stilts import registered
from adapter_stilts.errors import UserError
from adapter_stilts.registered import additions, restore, snapshot
from adapter_stilts.zoo.record import ModuleRecord
from adapter_stilts.zoo.verify import check_agreement
from cli_kit import Result, assert_one_line, call_cli

Run = Callable[..., Result]
EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin"
FEW = ("--steps", "2", "--evaluations", "1")
METRIC = "import adapter_stilts as ads\n@ads.metric('a'"
MERGE = "import adapter_stilts as ads\n@ads.merge_method"


@pytest.fixture(autouse=True)
def nothing_added(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = snapshot()
    monkeypatch.setattr(loading, "_done", {})
    monkeypatch.setattr(registered, "_LEFT_OUT", [])
    monkeypatch.delenv(loading.VARIABLE, raising=False)
    yield
    restore(before)


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], zoo: Path, tmp_path: Path
) -> Run:
    monkeypatch.delenv("ADSTILTS_DATA", raising=False)
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path / "cache"))
    return lambda *arguments: call_cli(monkeypatch, capsys, *arguments)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = Path(shutil.copytree(EXAMPLE, tmp_path / "plugin"))
    monkeypatch.chdir(place)
    return place


def test_commands_of_the_example_run(run: Run, folder: Path, tiny_xlmr: Path, zoo: Path) -> None:
    block = re.search(r"```\n(.*?)```", (folder / "README.md").read_text("utf-8"), re.DOTALL)
    assert block
    outputs = []
    for line in block[1].replace("embedded", shlex.quote(str(tiny_xlmr))).splitlines():
        command = shlex.split(line)[1:]
        code, out, err = run(*command, *(FEW if command[0].startswith("train") else ()))
        assert code == 0, (line, err)
        outputs.append(out)
    assert "dev balanced_accuracy" in outputs[0]
    assert "median(my-reviews, my-reviews-s1)" in outputs[2]
    assert "balanced_accuracy" in outputs[3]
    plugin = ("--include", "my_plugin.py")
    code, out, err = run("zoo", "verify", "my-reviews", "--scores", *plugin)
    assert code == 0 and re.search(r"scores +ok", out), (out, err)
    code, out, err = run("zoo", "readme", str(zoo))
    assert "merged" in out and "Each that was trained is made again" in out
    found = run("evaluate", "my-reviews", "--with", "median(my-reviews, my-reviews-s1):x", *plugin)
    assert_one_line(found, 2, "median(my-reviews, my-reviews-s1)", "has no head")
    assert (zoo / tiny_xlmr.name / "my-reviews-wide-bottleneck").is_dir()


def test_module_is_used_without_the_plugin(
    run: Run, folder: Path, tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["train-adapter", "my-reviews", "--include", "my_plugin.py"]
    code, _, err = run(*given, "--backbone", str(tiny_xlmr), *FEW)
    assert code == 0, err
    restore({kind: {} for kind in snapshot()})
    code, out, err = run("predict", "--with", "my-reviews", "--text-a", "Good.", "--json")
    assert code == 0, err
    assert set(json.loads(out)["labels"]) == {"good", "bad"}
    assert_one_line(run("evaluate", "my-reviews", "--with", "my-reviews"), 2, "my-reviews")


def test_environment_names_plugins(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(loading.VARIABLE, str(folder / "my_plugin.py"))
    code, out, err = run("tasks", "my-reviews")
    assert code == 0 and "balanced_accuracy" in out, err
    code, out, err = run("tasks", "--json")
    assert code == 0 and json.loads(out)[-1]["name"] == "my-reviews", err


def install(folder: Path, code: str) -> None:
    """Makes a package of one file with an entry point, as if pip had put it there."""
    (folder / "adstilts_own_package.py").write_text(code, "utf-8")
    about = folder / "adstilts_own_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: adstilts-own-package\nVersion: 1.0\n", "utf-8")
    points = f"[{loading.GROUP}]\nown = adstilts_own_package\n"
    (about / "entry_points.txt").write_text(points, "utf-8")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("adstilts_own_package", None)


def test_module_of_a_plugins_method_is_used_as_others(
    run: Run, folder: Path, tiny_xlmr: Path, zoo: Path
) -> None:
    plugin = ("--include", "my_plugin.py")
    given = ["train-adapter", "my-reviews", "--method", "wide-bottleneck", *FEW, *plugin]
    for seed in ("0", "1"):
        code, _, err = run(*given, "--backbone", str(tiny_xlmr), "--seed", seed)
        assert code == 0, err
    name = "my-reviews-wide-bottleneck"
    code, out, err = run("predict", "--with", name, "--text-a", "Good.", "--json", *plugin)
    assert code == 0, err
    assert set(json.loads(out)["labels"]) == {"good", "bad"}
    code, out, err = run("zoo", "verify", name, *plugin)
    assert code == 0 and "WRONG" not in out, (out, err)
    code, out, err = run("merge", name, f"{name}-s1", "--how", "median", "--head", name, *plugin)
    assert code == 0, err
    fuse = ["fuse", name, f"{name}-s1", "--target", "my-reviews", "--kind", "lean", *FEW]
    code, out, err = run(*fuse, *plugin)
    assert code == 0, err
    record = zoo / tiny_xlmr.name / name / "module.json"
    written = record.read_text("utf-8")
    record.write_text(written.replace('"wide-bottleneck"', '"lora"'), "utf-8")
    assert run("zoo", "verify", name, *plugin)[0] == 1
    record.write_text(written, "utf-8")
    restore({kind: {} for kind in snapshot()})
    code, out, err = run("zoo", "verify", name)
    assert code == 0 and "not checked" in out and "WRONG" not in out, (out, err)
    found = run("predict", "--with", name, "--text-a", "Good.")
    assert_one_line(found, 2, "module.json", "'wide-bottleneck'", "--include")
    with pytest.raises(UserError, match=r"module\.json: 'method' is 'wide-bottleneck'.*--include"):
        check_agreement(ModuleRecord.read(record.parent), record.parent)


def test_a_task_before_its_metric_is_told_the_order(run: Run, folder: Path) -> None:
    file = folder / "early.py"
    file.write_text("import adapter_stilts as ads\nads.register('my_reviews.yaml')\n", "utf-8")
    assert_one_line(run("tasks", "--include", "early.py"), 2, "early.py:2", "above this line")


def test_installed_package_adds_what_its_entry_point_names(packages: Path) -> None:
    code = "import adapter_stilts as ads\n@ads.merge_method\ndef first(tensors, weights):\n"
    install(packages, f"{code}    return tensors[0]\n")
    loading.load_plugins()
    assert str(ads.compose("first", "a", "b")) == "first(a, b)"


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("x = 1\nimport no_such_package\n", "adstilts_own_package.py:2"),
        ("import adapter_stilts as ads\nads.register(3)\n", "adstilts_own_package.py:2"),
        ("x = 1\n", "registers nothing"),
        ("raise SystemExit(3)\n", "adstilts_own_package.py:1"),
        ("def of(:\n", "adstilts_own_package.py:1"),
    ],
)
def test_a_package_whose_plugin_fails_is_named_and_left_out(
    packages: Path, run: Run, caplog: pytest.LogCaptureFixture, code: str, named: str
) -> None:
    """Whoever runs a command did not name it, and may not need it."""
    install(packages, code)
    before = snapshot()
    assert run("tasks", "squad")[0] == 0
    (warned,) = caplog.records
    line = warned.getMessage()
    assert "\n" not in line and named in line
    assert "adstilts-own-package" in line and "pip uninstall" in line
    assert snapshot() == before
    caplog.clear()
    assert_one_line(run("tasks", "their-task"), 2, "'their-task'", "adstilts-own-package")
    assert not caplog.records, "once a process"


def test_of_two_packages_one_fails(packages: Path) -> None:
    install(packages, "import no_such_package\n")
    code = "import adapter_stilts as ads\n@ads.merge_method\ndef first(tensors, weights):\n"
    (packages / "second_package.py").write_text(f"{code}    return tensors[0]\n", "utf-8")
    about = packages / "second_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: second-package\nVersion: 1.0\n", "utf-8")
    (about / "entry_points.txt").write_text(f"[{loading.GROUP}]\nb = second_package\n", "utf-8")
    loading.load_plugins()
    assert str(ads.compose("first", "a", "b")) == "first(a, b)"
    sys.modules.pop("second_package")


def test_a_named_plugin_that_fails_still_ends_the_command(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own.py"
    file.write_text("import no_such_package\n", "utf-8")
    monkeypatch.setenv(loading.VARIABLE, str(file))
    assert_one_line(run("tasks", "squad"), 2, "own.py:1")


def test_a_plugin_that_was_edited_is_run_again(tmp_path: Path) -> None:
    """As between two cells of a notebook: what it no longer has is gone."""
    file = tmp_path / "own.py"
    metric = "import adapter_stilts as ads\n@ads.metric('{}', heads='span')\ndef a(p, r): ...\n"
    file.write_text(metric.format("one"), "utf-8")
    ads.include(file)
    ads.include(file)
    assert "one" in additions("metric")
    file.write_text("# moved\n" + metric.format("one") + metric.format("other"), "utf-8")
    ads.include(file)
    assert {"one", "other"} <= set(additions("metric"))
    assert additions("metric")["one"].place.endswith(":3")
    file.write_text("x = (\n", "utf-8")
    for _ in range(2):
        with pytest.raises(UserError, match=r"own\.py:1"):
            ads.include(file)
        assert {"one", "other"} <= set(additions("metric")), "what worked is kept"
    file.write_text(metric.format("other"), "utf-8")
    ads.include(file)
    assert "one" not in additions("metric") and "other" in additions("metric")


@pytest.mark.parametrize(
    "cell", ["/tmp/ipykernel_12/34.py", "<ipython-input-1-ab>", "/tmp/ipython-input-3-4.py"]
)
def test_a_cell_that_is_run_again_means_the_new_one(cell: str) -> None:
    code = "import adapter_stilts as ads\n@ads.metric('mine', heads='span')\ndef a(p, r): ...\n"
    for start in ("", "\n"):
        exec(compile(start + code, cell, "exec"), {})
    assert additions("metric")["mine"].place == f"{cell}:3"


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("x = 1\n", "registers nothing"),
        ("x = 1\nimport no_such_package\n", "own.py:2"),
        ("x = 1\n\nx = (\n", "own.py:3"),
        ("raise SystemExit(0)\n", "own.py:1"),
        ("import adapter_stilts as ads\nads.register(3)\n", "own.py:2"),
        (
            "import adapter_stilts as ads\n@ads.merge_method\ndef ties(tensors, weights): ...\n",
            "ties",
        ),
        (
            "import adapter_stilts as ads\n@ads.metric('a', heads=['tagginh'])\ndef a(p, r): ...\n",
            "tagging",
        ),
        (
            "import adapter_stilts as ads\nads.register('no.yaml')\n",
            "own.py:2: task file",
        ),
        (f"{METRIC}, heads=[])\ndef a(p, r): ...\n", "own.py:2"),
        (f"{METRIC}, heads='span')\ndef a(p): ...\n", "own.py:2"),
        (f"{METRIC}, heads='span')\ndef a(p, r, *, more): ...\n", "'more'"),
        (f"{MERGE}\ndef a(tensors): ...\n", "own.py:2"),
        (f"{MERGE}(form='linearr')\ndef a(tensors, weights): ...\n", "'linear'"),
        (f"{MERGE}(most=1)\ndef a(tensors, weights): ...\n", "most=1"),
        (f"{MERGE}\ndef a(tensors, weights, density=True): ...\n", "'density'"),
        (
            "import adapter_stilts as ads\n@ads.adapter_method('a', family='lorra')\n"
            "def a(options): ...\n",
            "'lora'",
        ),
        (
            "import adapter_stilts as ads\n@ads.merge_method\ndef b(t, w): ...\n"
            "@ads.adapter_method\ndef a(options): ...\n",
            "own.py:4: a name",
        ),
        ("import adapter_stilts as ads\nads.get_task('sqad')\n", "own.py:2: no task 'sqad'"),
        (
            "import adapter_stilts as ads\n@ads.adapter_method('lora')\ndef a(options): ...\n",
            "an adapter method of the package",
        ),
    ],
)
def test_bad_plugin_is_refused(run: Run, tmp_path: Path, code: str, named: str) -> None:
    file = tmp_path / "own.py"
    file.write_text(code, "utf-8")
    before = snapshot()
    assert_one_line(run("tasks", "--include", str(file)), 2, named)
    assert snapshot() == before


def test_missing_plugin_is_refused(run: Run, tmp_path: Path) -> None:
    assert_one_line(run("--include", str(tmp_path / "no.py"), "tasks"), 2, "no.py")
    assert_one_line(run("tasks", "--include"), 2, "--include")


def test_two_tasks_of_one_name_are_refused(folder: Path) -> None:
    ads.include(folder / "my_plugin.py")
    other = folder / "other.py"
    other.write_text("import adapter_stilts as ads\nads.register('my_reviews.yaml')\n", "utf-8")
    with pytest.raises(UserError, match=r"other\.py:2.*my-reviews.*my_plugin\.py:\d+"):
        ads.include(other)


@pytest.mark.parametrize(
    ("result", "named"),
    [
        ("tensors", "list"),
        ("tensors[0][..., :1]", "shape"),
        ("1 / 0", "ZeroDivisionError"),
        ("exit(3)", "SystemExit"),
        ("tensors[0].to_sparse()", "dense"),
        ("tensors[0].to('meta')", "no values"),
        ("tensors[0].long()", "floating-point"),
        ("tensors[0].numpy()", "ndarray"),
    ],
)
def test_merge_method_that_returns_something_else_is_refused(
    tmp_path: Path, result: str, named: str
) -> None:
    import torch

    from adapter_stilts.merging.blend import blend

    file = tmp_path / "own.py"
    code = "import adapter_stilts as ads\n@ads.merge_method\ndef mine(tensors, weights):\n"
    file.write_text(f"{code}    return {result}\n", "utf-8")
    ads.include(file)
    assert "mine" in additions("merge method")
    merge = blend("mine", [torch.ones(2, 3), torch.zeros(2, 3)])
    with pytest.raises(UserError, match=rf"own\.py:2: .*'mine'.*{named}"):
        merge(torch.ones(2))


@pytest.mark.parametrize(
    ("result", "named"),
    [
        ("5", "returns int"),
        ("None", "returns NoneType"),
        ("1 / 0", "fails with ZeroDivisionError"),
        ("exit(0)", "fails with SystemExit"),
        ("__import__('adapters').LoRAConfig()", "LoRAConfig"),
        ("__import__('adapters').PrefixTuningConfig()", "PrefixTuningConfig"),
    ],
)
def test_adapter_method_that_makes_no_configuration_is_refused(
    run: Run, folder: Path, tiny_xlmr: Path, result: str, named: str
) -> None:
    own = folder / "own.py"
    code = "import adapter_stilts as ads\n@ads.adapter_method('mine')\ndef mine(options):\n"
    own.write_text(f"{code}    return {result}\n", "utf-8")
    given = ["train-adapter", "my-reviews", "--backbone", str(tiny_xlmr), "--method", "mine"]
    given += ["--include", "my_plugin.py", "--include", "own.py", *FEW]
    assert_one_line(run(*given), 2, "own.py:2", "'mine'", named)


@pytest.mark.parametrize(
    ("score", "said"),
    [
        ("float('nan')", "finite"),
        ("float('inf')", "finite"),
        ("{'own': float('nan')}", "finite"),
        ("'50'", "str"),
        ("{'other': 1.0}", "no 'own'"),
        ("exit(0)", "SystemExit"),
    ],
)
def test_metric_without_a_finite_score_is_named(tmp_path: Path, score: str, said: str) -> None:
    from adapter_stilts.metrics import get_metric

    file = tmp_path / "own.py"
    code = "import adapter_stilts as ads\n@ads.metric('own', heads=['classification'])\n"
    file.write_text(f"{code}def own(predictions, references):\n    return {score}\n", "utf-8")
    ads.include(file)
    with pytest.raises(UserError, match=rf"own\.py:2: metric 'own'.*{said}"):
        get_metric("own").compute(predictions=[1], references=[1])


def test_public_names_are_there() -> None:
    assert set(ads.__all__) <= set(dir(ads))
    found: dict[str, Any] = {name: getattr(ads, name) for name in ads.__all__}
    assert issubclass(found["RefusedError"], found["UserError"])


def test_compositions_print_as_text() -> None:
    assert str(ads.stack("squad", "tydiqa")) == "stack(squad, tydiqa)"
    assert str(ads.stack(ads.fusion("squad", "mnli"), "tydiqa")) == (
        "stack(fuse(mnli, squad), tydiqa)"
    )
    made = ads.ties("squad", "mnli", weights=[1, 2], density=0.3)
    assert str(made) == "ties(2*mnli, 1*squad, density=0.3)"
    with pytest.raises(UserError, match="average"):
        ads.compose("averag", "a", "b")


@pytest.mark.parametrize(
    "given",
    [
        ("tasks", "zzz"),
        ("evaluate", "zzz", "--with", "squad"),
        ("train-adapter", "zzz"),
        ("train-adapter", "squad", "--method", "zzz"),
        ("merge", "squad", "mnli", "--how", "zzz"),
        ("evaluate", "xquad", "--with", "zzz(squad, mnli)"),
        ("evaluate", "own.yaml", "--with", "squad"),
    ],
)
def test_a_name_that_a_plugin_may_add_hints_at_plugins(
    run: Run, given: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    about = "name: own\nhead: classification\nmetric: zzz\nfiles: {train: a.csv}\n"
    Path("own.yaml").write_text(f"{about}columns: {{text: a, label: b}}\n", "utf-8")
    assert_one_line(run(*given), 2, "'zzz'", "--include FILE")


def test_a_misspelt_name_hints_at_its_neighbour_alone(run: Run) -> None:
    code, _, err = run("tasks", "sqad")
    assert code == 2 and "'squad'" in err and "--include" not in err
