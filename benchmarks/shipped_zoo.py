"""The zoo that is shipped: modules that other scripts trained, gathered into adapters_zoo/.

Stores every module in half precision, unless a dev score then moves by more than 0.1; scores are
computed before and after on the same data, and those of what is stored go into its record and
card. Writes adapters_zoo/README.md from the records. What is there already is not made again, so
the script can be run whenever more has been trained: the nine tasks by `intermediate.py`, SQuAD
on all questions by `zero_shot_squad.py`, the module of all nine and fusions by
`general_purpose.py`. Of fusions the one with the best English dev score is taken for each target;
where it was learnt over other modules than the zoo's, that kind is learnt anew over these.

    python benchmarks/shipped_zoo.py --data DATA
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import mean

import torch
from general_purpose import NINE, PLANS
from steps import options, parser

from adapter_stilts import fuse, load
from adapter_stilts.backbones import find_backbone
from adapter_stilts.modules.engine import load_engine
from adapter_stilts.paths import atomic_folder
from adapter_stilts.zoo.export import export
from adapter_stilts.zoo.hub.shareable import shareable, stage
from adapter_stilts.zoo.readme import zoo_readme
from adapter_stilts.zoo.record import RECORD, ModuleRecord
from adapter_stilts.zoo.scores import dev_scores

TARGETS = ("xnli", "tydiqa", "xcopa")
"""Where there is room for one full fusion only, it is that of the first."""
KINDS = {
    "full": "full fusion",
    "lean": "lean fusion",
    "uniform": "uniform fusion",
    "lean-lora": "LoRA fusion",
}
"""Fusions by the end of their folder's name, and what `general_purpose.py` calls them."""
TOLERANCE = 0.1
MAX_BYTES = 40_000_000
RESERVE = 2_000_000
"""Bytes left free for the small fusions of the other targets."""


def main() -> None:
    """Adds what is missing and writes the README."""
    accepted = parser(__doc__, "shipped_zoo")
    accepted.set_defaults(out=Path("adapters_zoo"))
    accepted.add_argument("--modules", type=Path, default=Path("runs/intermediate"))
    accepted.add_argument("--squad", type=Path, default=Path("zoo/zero-shot/squad"))
    accepted.add_argument("--general", type=Path, default=Path("runs/general_purpose"))
    accepted.add_argument("--only", nargs="+", help="these modules alone")
    args = accepted.parse_args()
    # Modules are looked for in the zoo that is being made, not in the user's.
    os.environ["ADSTILTS_ZOO"] = str(args.work / "zoo")
    os.environ["ADSTILTS_ZOO_PATH"] = str(args.out)
    for name, folder in trained(args):
        if not args.only or name in args.only:
            add(args, name, folder)
    for target in TARGETS:
        best = best_fusion(args, target)
        name = f"{target}-{best.name.removesuffix('-lora')}" if best else ""
        if best and (not args.only or name in args.only):
            for old in set((args.out / args.backbone).glob(f"{target}-fusion-*")):
                if old.name != name:
                    shutil.rmtree(old)
            add(args, name, over_the_zoo(args, target, best))
    (args.out / "README.md").write_text(zoo_readme(args.out), encoding="utf-8")
    check_size(args.out)


def trained(args: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """What was trained on intermediate tasks, by its name in the zoo, as far as it is there."""
    for task in NINE:
        known = args.squad if task == "squad" else args.modules / task / "bottleneck"
        yield task, known
        yield f"{task}-lora", args.modules / task / "lora"
    multitask = args.general / "zoo" / args.backbone / "multitask"
    if (multitask / RECORD).is_file():
        yield "multitask", multitask


def best_fusion(args: argparse.Namespace, target: str) -> Path | None:
    """The learnt fusion with the best English dev score, once all kinds have been measured.

    Of equals the smallest. Full fusions are large: where one would take the zoo beyond its limit,
    it is the next best.
    """
    found: list[tuple[float, Path]] = []
    for kind, name in KINDS.items():
        kept = args.general / f"{target}-{name.replace(' ', '-')}.json"
        if not kept.exists():
            return None
        folder = Path(args.general / "modules" / target / f"fusion-{kind}")
        found.append((json.loads(kept.read_text())["dev"], folder))
    others = size_of(args.out) - sum(
        size_of(each) for each in (args.out / args.backbone).glob(f"{target}-fusion-*")
    )
    sizes = {folder: 2 * ModuleRecord.read(folder).parameters for _, folder in found}
    fit = [each for each in found if others + sizes[each[1]] < MAX_BYTES - RESERVE]
    return max(fit, key=lambda each: (each[0], -sizes[each[1]]))[1]


def over_the_zoo(args: argparse.Namespace, target: str, folder: Path) -> Path:
    """The fusion, or another of its kind if it is over other modules than those in the zoo."""
    record = ModuleRecord.read(folder)
    zoo = args.out / args.backbone
    there = {name: ModuleRecord.read(zoo / name).run for name in record.bases}
    if there == {name: base["run"] for name, base in record.bases.items()}:
        return folder
    out = Path(args.work / folder.name / target)
    if not (out / RECORD).is_file():
        given = options(args, PLANS[target].train, 100)
        kind = record.method.removeprefix("fusion-")
        names = [f"{args.backbone}/{name}" for name in there]
        fuse(names, target, kind=kind, out=out, lr=record.recipe["lr"], **given)
    return out


def add(args: argparse.Namespace, name: str, folder: Path) -> None:
    """Puts a module into the zoo, unless it is there."""
    place = args.out / args.backbone / name
    record = ModuleRecord.read(folder)
    if (place / RECORD).is_file() and ModuleRecord.read(place).run == record.run:
        with atomic_folder(place) as final:  # the card may say more than it did
            stage(shareable(place, None), place, final)
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        known = of_this_backbone(args.backbone, folder, work / "known")
        full, half = (
            export(known, work / size, library="module", half=size == "half")
            for size in ("full", "half")
        )
        before, after = scores_of(full, args.data), scores_of(half, args.data)
        moved = max(abs(after[key] - value) for key, value in before.items())
        keep = moved <= TOLERANCE
        print(f"{name}: moved by {moved:.3f}, {'half' if keep else 'full'} precision", flush=True)
        chosen = half if keep else full
        record = with_scores(ModuleRecord.read(chosen), after if keep else before)
        if keep:
            scored = with_scores(record, before).scores
            record = dataclasses.replace(record, full_precision=scored)
        with atomic_folder(place) as final:
            stage(record, chosen, final)


def scores_of(folder: Path, data: Path) -> dict[str, float]:
    """A module's dev scores, on its backbone in float32."""
    found = dev_scores(load(folder, precision="fp32"), str(data))
    if found is None:
        raise SystemExit(f"{folder}: {data} does not have the examples it was scored on")
    return found.scores


def with_scores(record: ModuleRecord, scores: dict[str, float]) -> ModuleRecord:
    """The record with other dev scores."""
    if not record.heads:
        return dataclasses.replace(record, scores={**record.scores, **scores})
    heads = {
        task: {
            **head,
            "scores": {k: scores.get(f"{task}.{k}", v) for k, v in head["scores"].items()},
        }
        for task, head in record.heads.items()
    }
    shown = {key: scores[key] for key in record.scores if key != "mean"}
    return dataclasses.replace(record, heads=heads, scores={"mean": mean(shown.values()), **shown})


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def check_size(out: Path) -> None:
    """Refuses a zoo that is larger than anybody wants to download with a repository."""
    print(f"{out}: {size_of(out) / 1e6:.1f} MB")
    if size_of(out) > MAX_BYTES:
        raise SystemExit(f"{out} is larger than {MAX_BYTES / 1e6:.0f} MB")


def of_this_backbone(backbone: str, folder: Path, copy: Path) -> Path:
    """The module, with today's fingerprint of the same backbone if it has an earlier one.

    Fingerprints once counted the word embeddings twice, under the alias that `adapters` gives
    them: a module whose fingerprint is that of today's weights so counted is for these weights.
    """
    record = ModuleRecord.read(folder)
    known = record.backbone["fingerprint"]
    if known == fingerprints(backbone)[0]:
        return folder
    if known != fingerprints(backbone)[1]:
        raise SystemExit(f"{folder} was trained on another backbone than {backbone}")
    shutil.copytree(folder, copy)
    own = {**record.backbone, "fingerprint": fingerprints(backbone)[0]}
    dataclasses.replace(record, backbone=own).write(copy)
    return copy


@cache
def fingerprints(backbone: str) -> tuple[str, str]:
    """A backbone's fingerprint, and what it once was."""
    engine = load_engine(find_backbone(backbone), precision="fp32", device=torch.device("cpu"))
    digest = hashlib.sha256()
    for name, tensor in sorted(engine.model.base_model.state_dict().items()):
        if not name.startswith("pooler.") and tensor.is_floating_point():
            digest.update(f"{name}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().float().contiguous().numpy().data)
    return engine.fingerprint, digest.hexdigest()[:16]


if __name__ == "__main__":
    main()
