"""One module for several tasks: trained, resumed, saved, and what stands on it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_kit import SHORT, Spy, Weights  # type: ignore[import-not-found]

from adapter_stilts import evaluate, load, train_adapter, train_multitask, train_target
from adapter_stilts.data.load import load_examples
from adapter_stilts.data.parts import samples_folder
from adapter_stilts.engine.native import HEAD_WEIGHTS, WEIGHTS
from adapter_stilts.errors import InterruptedTrainingError, UserError
from adapter_stilts.training.job import Job
from adapter_stilts.training.run import Trained
from adapter_stilts.zoo.push import export
from adapter_stilts.zoo.record import ModuleRecord
from adapter_stilts.zoo.resolve import resolve
from adapter_stilts.zoo.verify import verify

OPTIONS = {**SHORT, "limit": 8, "dev_limit": 4}
del OPTIONS["task"]
TASKS = "squad,mnli,squad-v2"
Multi = Callable[..., Trained]


@pytest.fixture(scope="module")
def shared(tiny_xlmr: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A module of three tasks, trained once for all tests that only read it."""
    out = tmp_path_factory.mktemp("zoo") / "tiny" / "multitask"
    return train_multitask(TASKS, **{**OPTIONS, "backbone": str(tiny_xlmr), "lr": 1e-2, "out": out})


@pytest.fixture
def trained(shared: Trained, monkeypatch: pytest.MonkeyPatch) -> Trained:
    """The same, in the zoo."""
    monkeypatch.setenv("ADSTILTS_ZOO", str(shared.path.parent.parent))
    return shared


@pytest.fixture
def multi(tiny_xlmr: Path, zoo: Path) -> Multi:
    """A short training of three tasks into the zoo."""

    def run(tasks: str = TASKS, **changes: Any) -> Trained:
        return train_multitask(tasks, **{**OPTIONS, "backbone": str(tiny_xlmr), **changes})

    return run


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A folder of text in two languages."""
    folder = tmp_path / "text"
    folder.mkdir()
    for language, size in (("sw", 30), ("de", 12)):
        lines = [f"The castle {n} stands above the river." for n in range(size)]
        (folder / f"{language}.txt").write_text("\n".join(lines), "utf-8")
    return folder


def everything(folder: Path) -> Weights:
    """All weights of a module, those of its heads by their folders."""
    found = dict(load_file(folder / WEIGHTS))
    for path in folder.glob(f"heads/*/{HEAD_WEIGHTS}"):
        found |= load_file(path)
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*.safetensors")
    }


def test_the_record_tells_of_every_task(trained: Trained) -> None:
    record = ModuleRecord.read(trained.path)
    assert record == trained.record
    assert (trained.path.name, record.composition) == ("multitask", "multitask")
    assert list(record.heads) == ["mnli", "squad", "squad-v2"]
    assert {task: head["head"] for task, head in record.heads.items()} == {
        "mnli": "classification",
        "squad": "span",
        "squad-v2": "span",
    }
    counting = {"mnli": "accuracy", "squad": "f1", "squad-v2": "best_f1"}
    primaries = [record.heads[task]["scores"][name] for task, name in counting.items()]
    assert record.scores["mean"] == pytest.approx(sum(primaries) / 3)
    assert list(record.scores.values())[1:] == primaries
    assert "best_f1_threshold" not in record.heads["squad-v2"]["scores"]
    assert record.heads["squad-v2"]["no_answer_threshold"] is not None
    assert record.recipe["temperature"] == 2.0
    sizes = sum(tensor.numel() for tensor in everything(trained.path).values())
    assert record.parameters == sizes
    record.verify(trained.path)
    card = (trained.path / "README.md").read_text("utf-8")
    for part in ("a head for each of 3 tasks", 'task="mnli"', "squad-v2.best_f1", "Rajpurkar"):
        assert part in card


def test_as_many_parameters_as_said_beside_single_modules(multi: Multi, tiny_xlmr: Path) -> None:
    record = multi("mnli,squad", method="lora").record
    single = [
        train_adapter(task, **OPTIONS, method="lora", backbone=str(tiny_xlmr)).record.parameters
        for task in ("mnli", "squad")
    ]
    assert record.parameters_apart == sum(single) > record.parameters


def test_the_best_module_and_all_heads_are_kept(
    multi: Multi, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[Weights] = []
    coming = iter([10.0, 50.0, 20.0])

    def score(job: Job) -> dict[str, float]:
        own = dict(job.engine.model.named_parameters())
        scored.append({name: own[name].detach().clone() for name in job.engine.modules[job.name]})
        return {"mean": next(coming), "mnli.accuracy": 1.0, "squad.f1": 2.0}

    monkeypatch.setattr(Job, "dev_scores", score)
    trained = multi("mnli,squad", evaluations=3, lr=1e-2)
    kept = everything(trained.path)
    assert kept.keys() == scored[1].keys()
    assert all(torch.equal(kept[name], scored[1][name]) for name in kept)
    changed = {name.split(".")[1] for name in kept if not torch.equal(kept[name], scored[2][name])}
    assert {"multitask:mnli", "multitask:squad"} <= changed
    assert trained.record.scores == {"mean": 50.0, "mnli.accuracy": 1.0, "squad.f1": 2.0}


def test_a_batch_teaches_the_module_and_one_head(multi: Multi, spy: Spy, text: Path) -> None:
    multi("mnli,squad", report_to="spy", mlm_text=text, mlm_share=0.4)
    taught = [{name.split(".")[1] for name in found} for found in spy.gradients]
    heads = [{name for name in names if ":" in name} for names in taught]
    assert {len(each) for each in heads} == {1}
    assert set.union(*heads) == {"multitask:mnli", "multitask:squad", "multitask:text"}
    for found in spy.gradients:
        module = [value for name, value in found.items() if ".adapters." in name]
        assert module and max(float(value.abs().max()) for value in module) > 0


def test_text_comes_on_top_of_the_tasks(multi: Multi, text: Path, tmp_path: Path) -> None:
    alone = multi("mnli,qqp").record
    mixed = multi("mnli,qqp", mlm_text=text, mlm_share=0.5, out=tmp_path / "mixed").record
    assert mixed.steps == pytest.approx(2 * alone.steps, abs=1)
    assert mixed.recipe["mlm_languages"] == ["de", "sw"]
    assert mixed.parameters == alone.parameters  # the head for masked words is not kept
    assert mixed.run != alone.run
    other = train_multitask(
        "mnli",  # a single one with text, as Phang et al. tried it
        **{**OPTIONS, "backbone": alone.backbone["name"], "out": tmp_path / "one", "limit": 4},
        mlm_text=text,
    )
    assert list(other.record.heads) == ["mnli"]


def test_the_settings_of_the_mixture_are_the_runs_own(multi: Multi, tmp_path: Path) -> None:
    runs = set()
    changes: list[dict[str, Any]] = [{}, {"temperature": 1.0}, {"normalise_losses": True}]
    for place, change in enumerate([*changes, {"tasks": "csqa,mnli,qqp"}]):
        given: dict[str, Any] = {"tasks": "qqp,mnli", "epochs": 0.1, **change}
        runs.add(multi(**given, out=tmp_path / str(place)).record.run)
    assert len(runs) == 4
    again = multi("mnli, QQP", out=tmp_path / "again", epochs=0.1)
    assert again.record.run in runs
    normal, scaled = (everything(tmp_path / name) for name in ("0", "2"))
    assert any(not torch.equal(normal[name], scaled[name]) for name in normal)


def test_killed_at_any_step_it_ends_with_the_same_weights(
    worker: Callable[..., list[int]], tiny_xlmr: Path, text: Path, tmp_path: Path
) -> None:
    hard = {"head_dropout": 0.2, "accumulate": 2, "evaluations": 3, "normalise_losses": True}
    settings = {**OPTIONS, **hard, "tasks": "mnli,csqa", "mlm_text": str(text)}
    settings |= {"backbone": str(tiny_xlmr), "mlm_share": 0.3}
    outs = [tmp_path / name / "module" for name in ("calm", "killed")]
    for out in outs:
        out.parent.mkdir()
    calm, killed = ({**settings, "out": str(out)} for out in outs)
    assert worker(calm, trains="multitask") == [0]
    kill = int(signal.SIGKILL)
    for step in (2, 5):
        stop = {"step": step, "signal": kill}
        codes = worker({**killed, "resume": True}, stop=stop, save_seconds=0.0, trains="multitask")
        assert codes == [-kill]
    assert worker({**killed, "resume": True}, trains="multitask") == [0]
    assert contents(outs[1]) == contents(outs[0])
    assert len(contents(outs[0])) == 3


def test_two_processes_learn_what_one_does(
    worker: Callable[..., list[int]], tiny_xlmr: Path, text: Path, tmp_path: Path
) -> None:
    settings = {**OPTIONS, "tasks": "mnli,csqa", "mlm_text": str(text), "limit": 6, "dev_limit": 2}
    settings |= {"backbone": str(tiny_xlmr), "mlm_share": 0.5}
    outs = [tmp_path / name / "module" for name in ("one", "two")]
    for out in outs:
        out.parent.mkdir()
    alone = {**settings, "accumulate": 2, "out": str(outs[0])}
    options: dict[str, Any] = {"trains": "multitask", "weights": True}
    assert worker(alone, **options) == [0]
    assert worker({**settings, "out": str(outs[1])}, ranks=2, **options) == [0, 0]
    expected = load_file(outs[0].with_name("weights-0.safetensors"))
    ranks = [load_file(outs[1].with_name(f"weights-{rank}.safetensors")) for rank in (0, 1)]
    assert [ModuleRecord.read(out).steps for out in outs] == [4, 4]
    for name, weight in expected.items():
        assert torch.equal(ranks[0][name], ranks[1][name]), name
        torch.testing.assert_close(ranks[0][name], weight, rtol=0, atol=1e-4)


def test_ctrl_c_saves_and_other_settings_are_refused(multi: Multi, spy: Spy) -> None:
    spy.stop_at(2)
    with pytest.raises(InterruptedTrainingError, match="--resume"):
        multi("mnli,qqp", report_to="spy")
    spy.on_step = None
    with pytest.raises(UserError, match=r"\(temperature was 2\.0, now 3\.0\).*--overwrite"):
        multi("mnli,qqp", report_to="spy", resume=True, temperature=3.0)
    assert multi("mnli,qqp", report_to="spy", resume=True).record.steps > 2


def test_a_head_is_chosen_by_its_task(trained: Trained) -> None:
    answer = load("multitask", task="squad", precision="fp32")
    assert answer.answer("Who?", "Ada lives in Rome.")["answer"]
    assert answer.task.name == "squad"
    classify = load("multitask:mnli", precision="fp32")
    assert set(classify.classify("A dog.", "A cat.")) == set(classify.labels)
    assert len(classify.labels) == 3
    assert resolve("multitask:squad").identity != resolve("multitask:mnli").identity
    unsaid = load("multitask", precision="fp32")
    with pytest.raises(UserError, match=r"choose --task from mnli, squad, squad-v2$"):
        unsaid.answer("Who?", "Ada lives in Rome.")
    assert unsaid.embed(["Ada lives in Rome."]).shape == (1, 32)
    with pytest.raises(UserError, match=r"no head in module 'multitask' .* 'ccg': choose from"):
        load("multitask", task="ccg")
    with pytest.raises(UserError, match=r"no head .* for the task 'sqad': did you mean 'squad'"):
        load("multitask:sqad")


def test_a_reloaded_head_gives_what_was_scored(trained: Trained) -> None:
    for task, head in trained.record.heads.items():
        module = load("multitask", task=task, precision="fp32")
        dev = load_examples(module.task, "dev", "sample", limit=4)
        again = module.score(dev.examples.to_list())
        again.pop("best_f1_threshold", None)
        assert again == pytest.approx(head["scores"])


def test_a_target_starts_from_the_head_that_suits_it(
    trained: Trained, weights: Callable[[Path], Weights], tmp_path: Path
) -> None:
    below = everything(trained.path)
    still = {**OPTIONS, "lr": 1e-12, "limit": 2, "dev_limit": 1}

    def start(target: str, on: str) -> Weights:
        out = tmp_path / f"{target}-{on.replace(':', '-')}"
        above = train_target(target, on=on, **still, out=out)
        assert above.record.composition == f"stack(multitask, {target})"
        return {key: x for key, x in weights(above.path).items() if "heads." in key}

    for target, on, task in (
        ("tydiqa", "multitask", "squad"),
        ("tydiqa", "multitask:squad-v2", "squad-v2"),
        ("xnli", "multitask", "mnli"),
    ):
        for key, value in start(target, on).items():
            source = below[key.replace(f"heads.{target}.", f"heads.multitask:{task}.")]
            torch.testing.assert_close(value, source, atol=1e-6, rtol=0)
    first = next(iter(start("udpos", "multitask").values()))  # nothing suits: a new head
    assert all(first.shape != value.shape for key, value in below.items() if "heads." in key)


def test_evaluated_with_the_head_that_suits_the_target(trained: Trained, tmp_path: Path) -> None:
    options: dict[str, Any] = {"data": "sample", "limit": 4, "langs": "de"}
    both = ["multitask", "multitask:squad-v2"]
    first, other = evaluate("xquad", compositions=both, out=tmp_path / "both", **options)
    assert first.composition == "multitask:squad"
    assert other.composition == "multitask:squad-v2"
    (alone,) = evaluate("xquad", compositions=both[1:], out=tmp_path / "alone", **options)
    assert other.languages["de"]["scores"] == alone.languages["de"]["scores"]
    written = [(each.folder / "xquad" / "test-de.json").read_text() for each in (first, other)]
    assert written[0] != written[1]
    with pytest.raises(UserError, match="has a multitask head, and udpos needs a tagging one"):
        evaluate("udpos", compositions=both[:1], **options)


@pytest.mark.parametrize("method", ["bottleneck", "lora"])
def test_it_opens_without_this_package(multi: Multi, tiny_xlmr: Path, method: str) -> None:
    import peft
    from adapters import AutoAdapterModel
    from transformers import AutoModel

    made = multi("mnli,squad", method=method, lr=1e-2)
    ours = load(made.path, task="mnli", precision="fp32")
    rows = {"input_ids": torch.arange(5, 21).view(2, 8), "attention_mask": torch.ones(2, 8)}
    with torch.inference_mode():
        expected = ours.engine.model(**rows).logits
        plain = AutoAdapterModel.from_pretrained(tiny_xlmr)
        plain.load_adapter(str(made.path), set_active=True, use_safetensors=True)
        for task in ("squad", "mnli"):
            plain.load_head(str(made.path / "heads" / task), use_safetensors=True)
        torch.testing.assert_close(plain.eval()(**rows).logits, expected)
        if method == "lora":
            trunk = AutoModel.from_pretrained(tiny_xlmr)
            opened = peft.PeftModel.from_pretrained(trunk, str(made.path / "peft")).eval()
            ours.engine.model.active_head = None
            states = ours.engine.model(**rows).last_hidden_state
            torch.testing.assert_close(opened(**rows).last_hidden_state, states)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": "squad,mnly"}, r"no task 'mnly': did you mean 'mnli'"),
        ({"tasks": "csqa,mnli,commonsense_qa"}, r"tasks: 'commonsense-qa' is given twice"),
        ({"tasks": "squad"}, r"'squad' is only one: `adstilts train-adapter squad`"),
        ({"tasks": " , "}, r"no tasks given: name some, or all"),
        ({"method": "fusion-lean"}, r"'fusion-lean' fuses modules"),
        ({"method": "lorra"}, r"no method 'lorra': did you mean 'lora'"),
        ({"temperature": 0.0}, r"temperature must be above 0, not 0"),
        ({"temperature": float("nan")}, r"temperature must be above 0, not nan"),
        ({"mlm_share": 1.0}, r"mlm-share must lie between 0 and 1, not 1"),
        ({"mlm_text": "nowhere"}, r"text folder 'nowhere' is not there"),
        ({"max_length": 4000}, r"max-length 4000 is over the 128 tokens"),
    ],
)
def test_mistakes_get_one_line(
    multi: Multi, zoo: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        multi(**change)
    assert "\n" not in str(caught.value)
    assert not zoo.exists()


def test_all_tasks_without_data_are_named_at_once(multi: Multi, tmp_path: Path) -> None:
    samples = Path(__file__).parents[2] / "src" / "adapter_stilts" / "data" / "samples"
    for name in ("squad", "mnli"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for path in (samples / name).iterdir():
            (tmp_path / "data" / name / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UserError) as caught:
        multi("squad,mnli,ccg,hellaswag", data=str(tmp_path / "data"))
    assert str(caught.value).startswith("no data for ccg, hellaswag (")
    assert str(caught.value).endswith("; without them: --tasks mnli,squad")


def test_damaged_heads_are_refused(trained: Trained, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained.path, tmp_path / "copy"))
    path = folder / "heads" / "mnli" / HEAD_WEIGHTS
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    with pytest.raises(UserError, match=r"model_head\.safetensors"):
        load(folder, task="squad")
    path.write_bytes(whole)
    (folder / "heads" / "mnli" / "head_config.json").unlink()
    with pytest.raises(UserError, match=r"head_config\.json is missing"):
        load(folder, task="squad")
    note = json.loads((folder / "module.json").read_text())
    head = note["heads"]["mnli"]
    for wrong in (["mnli"], {"mnli": {"head": "span"}}, {"../mnli": head}):
        (folder / "module.json").write_text(json.dumps({**note, "heads": wrong}))
        with pytest.raises(UserError, match="'heads"):
            load(folder, task="squad")


def test_scores_of_every_head_come_again(trained: Trained, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(trained.path, tmp_path / "copy"))
    looked = verify(copy, scores=True, data="sample")[-1]
    assert looked.what == "scores" and looked.fine is True
    assert all(f"{task}." in looked.detail for task in TASKS.split(","))
    record = ModuleRecord.read(copy)
    heads = {task: dict(head) for task, head in record.heads.items()}
    heads["mnli"]["scores"] = {"accuracy": record.heads["mnli"]["scores"]["accuracy"] + 25}
    dataclasses.replace(record, heads=heads).write(copy)
    looked = verify(copy, scores=True, data="sample")[-1]
    assert looked.fine is False and "mnli.accuracy" in looked.detail
    heads["mnli"]["dev"] = {**heads["mnli"]["dev"], "fingerprint": "0" * 32}
    dataclasses.replace(record, heads=heads).write(copy)
    assert verify(copy, scores=True, data="sample")[-1].fine is None


def test_nothing_of_this_machine_is_shared(
    multi: Multi, text: Path, tmp_path: Path, tiny_xlmr: Path
) -> None:
    trained = multi(data=str(samples_folder()), mlm_text=text)
    assert str(tmp_path) in json.dumps(dataclasses.asdict(trained.record))
    out = export(trained.path, tmp_path / "out", library="module", backbone="someone/tiny")
    for path in out.rglob("*"):
        if path.is_file():
            for place in (tmp_path, samples_folder(), tiny_xlmr):
                assert str(place).encode() not in path.read_bytes(), path
