"""`AdapterTrainer` with batches by token budget and checkpoints that resume to the bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from adapters import AdapterTrainer
from safetensors.torch import save_file
from torch.utils.data import DataLoader
from transformers import PrinterCallback, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import ExportableState

from adapter_stilts.engine.attention import FastAttention
from adapter_stilts.engine.engine import Engine, module_parameters
from adapter_stilts.engine.fusing import is_value, value_penalty
from adapter_stilts.errors import FailureError, NotFiniteError, UserError
from adapter_stilts.features.batch import collate
from adapter_stilts.paths import atomic_folder
from adapter_stilts.training import checkpoint as files
from adapter_stilts.training.batch_sources import BatchSource, BatchSources
from adapter_stilts.training.batching import BatchPlan
from adapter_stilts.training.contrastive import dual_encoder_loss
from adapter_stilts.training.failures import stop_if_diverged
from adapter_stilts.training.recipe import Keep
from adapter_stilts.training.selection import place_of_best

Scorer = Callable[[], dict[str, float]]


class ModuleTrainer(AdapterTrainer):  # type: ignore[misc]
    """Trains one module and its heads; every batch is of one source, through that one's head.

    What it changes in `AdapterTrainer`: the batches (a `BatchPlan` over the whole training, seen
    by transformers as one epoch), the evaluation (ours, by the official metrics), the parameter
    groups, and the checkpoints (safetensors; the head is kept with the best step as well).
    """

    control: Any
    optimizer: Any

    def __init__(
        self,
        engine: Engine,
        name: str,
        args: TrainingArguments,
        *,
        sources: Sequence[BatchSource],
        plan: BatchPlan,
        score: Scorer,
        callbacks: list[Any],
        on_scores: Callable[[Any, dict[str, float], float], None],
        keep: Keep = "best",
        average_last: int = 1,
    ) -> None:
        self.engine = engine
        self.name = name
        self.plan = plan
        self.best: files.Tensors | None = None
        self.recent: list[files.Tensors] = []
        self._keep = keep
        self._average_last = average_last
        self._score = score
        self._on_scores = on_scores
        self._sources = tuple(sources)
        pad_id = engine.backbone.tokenizer.pad_token_id
        super().__init__(
            engine.model,
            args,
            data_collator=lambda rows: {**collate(rows, pad_id), "source": rows[0]["source"]},
            train_dataset=BatchSources(sources),
            eval_dataset=sources[0].features.select(range(0)),
            callbacks=callbacks,
        )
        self.remove_callback(PrinterCallback)  # the progress bar shows what it would print
        # With it, transformers leaves the division by accumulated batches to the model's loss,
        # which the heads of `adapters` do not do.
        self.model_accepts_loss_kwargs = False
        self.train_adapter_fusion = False  # whose penalty is in `compute_loss`

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches in the plan's order; the plan has dealt them to the processes already."""
        plan: Any = self.plan  # of batches that know their source, where torch expects rows
        return DataLoader(
            self.train_dataset,
            batch_sampler=plan,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory and torch.cuda.is_available(),
        )

    def create_optimizer(self) -> Any:
        """AdamW over module and head; weight decay on matrices, but none of a fusion's values."""
        if self.optimizer is None:
            own = module_parameters(self.engine, self.name)
            decayed = [p for key, p in own.items() if p.ndim >= 2 and not is_value(key)]
            others = [p for key, p in own.items() if p.ndim < 2 or is_value(key)]
            groups = [
                {"params": decayed, "weight_decay": self.args.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ]
            kind, options = self.get_optimizer_cls_and_kwargs(self.args)
            self.optimizer = kind([group for group in groups if group["params"]], **options)
        return self.optimizer

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The head's loss, with attention that suits short sequences on a CPU."""
        source = self._sources[inputs.pop("source")]
        self.engine.model.active_head = source.head or None
        with FastAttention():
            if "query_ids" in inputs:
                return dual_encoder_loss(model, inputs)
            loss = super().compute_loss(model, inputs, *args, **kwargs)
        loss = source.scaled(loss, inputs["attention_mask"])
        # The library adds it between two steps, where no checkpoint could hold it.
        penalty = value_penalty(self.engine, self.name)
        return loss if penalty is None else loss + penalty

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: the estimate walks over all parameters at every step."""
        return 0

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Dev scores by the task's metric, named `eval_...` as transformers expects."""
        metrics = self._scored()
        if self._keep == "mean":
            self.recent = [*self.recent, self.weights()][-self._average_last :]
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _scored(self) -> dict[str, float]:
        """The scores of the weights as they are, shown and logged."""
        started = time.monotonic()
        self.model.eval()
        scores = self._finite_scores()
        self._on_scores(self.state, scores, time.monotonic() - started)
        metrics = {f"eval_{key}": value for key, value in scores.items()}
        self.log(dict(metrics))
        return metrics

    def _finite_scores(self) -> dict[str, float]:
        try:
            scores = self._score()
            if all(map(math.isfinite, scores.values())):
                return scores
            why = f"dev scores {scores}"
        except NotFiniteError as error:
            why = str(error)
        raise FailureError(
            f"the training diverged before step {self.state.global_step} ({why}): lower --lr (now "
            f"{self.args.learning_rate:g}) and begin anew with --overwrite"
        )

    def weights(self) -> files.Tensors:
        """The module's and its head's weights as they are now, on the CPU."""
        parameters = module_parameters(self.engine, self.name)
        return {
            key: parameter.detach().to("cpu", copy=True) for key, parameter in parameters.items()
        }

    def restore(self, tensors: files.Tensors, path: Path) -> None:
        """Sets the module's and its head's weights to those of a checkpoint's file."""
        files.copy_into(module_parameters(self.engine, self.name), tensors, path)

    def _maybe_log_save_evaluate(
        self, loss: torch.Tensor, grad_norm: torch.Tensor | float | None, *rest: Any, **named: Any
    ) -> None:
        # Reading the loss makes a GPU wait, so there it is done only where it is read anyway.
        control = self.control
        if not loss.is_cuda or control.should_log or control.should_evaluate or control.should_save:
            stop_if_diverged(
                self.state.global_step,
                loss.item(),
                float(grad_norm or 0.0),
                lr=self.args.learning_rate,
                work=Path(self.args.output_dir),
            )
        super()._maybe_log_save_evaluate(loss, grad_norm, *rest, **named)

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        super()._determine_best_metric(metrics, trial)
        key = str(self.args.metric_for_best_model)
        scores = [entry[key] for entry in self.state.log_history if key in entry]
        better = place_of_best(scores) == len(scores) - 1
        if better and self._keep == "best":
            self.best = self.weights()
            self.state.best_global_step = self.state.global_step
        return better

    def _load_best_model(self) -> None:
        if self.best is not None:
            self.restore(self.best, Path(self.args.output_dir) / files.BEST)

    def take_mean(self) -> None:
        """Sets the weights to the mean of the last evaluations', if that is kept, and scores it."""
        if self.recent:
            self.restore(files.mean_of(self.recent), Path(self.args.output_dir))
            self._scored()

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        run = Path(self.args.output_dir)
        target = run / f"checkpoint-{self.state.global_step}"
        self.state.best_model_checkpoint = str(target)
        kept: Any = self.state.stateful_callbacks  # annotated as a list, but kept by name
        for callback in self._stateful_callbacks():
            kept[type(callback).__name__] = callback.state()
        rng = run / f".rng-{self.args.process_index}.safetensors"
        files.save_rng(rng)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            with atomic_folder(target) as folder:
                save_file(self.weights(), folder / files.MODULE)
                if self.best is not None:
                    save_file(self.best, folder / files.BEST)
                files.save_recent(folder, self.recent)
                files.save_optimizer(folder / files.OPTIMIZER, self.optimizer, self.lr_scheduler)
                for other in run.glob(".rng-*.safetensors"):
                    other.rename(folder / other.name[1:])
                self.state.save_to_json(str(folder / TRAINER_STATE_NAME))
                files.write_manifest(folder)
            files.drop_older_checkpoints(run, keep=target)
        self.accelerator.wait_for_everyone()

    def _stateful_callbacks(self) -> list[Any]:
        every = [*self.callback_handler.callbacks, self.control]
        return [callback for callback in every if isinstance(callback, ExportableState)]

    def take_best(self, checkpoint: Path, state: TrainerState) -> None:
        """Ends a run that had nothing left to train: only the best weights are read."""
        self.state = state
        self._load_from_checkpoint(str(checkpoint))
        self._load_best_model()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        self.restore(files.read_tensors(folder / files.MODULE), folder / files.MODULE)
        if (folder / files.BEST).exists():
            self.best = files.read_tensors(folder / files.BEST)
        self.recent = files.read_recent(folder)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            path = Path(checkpoint) / files.OPTIMIZER
            files.load_optimizer(path, self.optimizer, self.lr_scheduler)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        states = sorted(Path(checkpoint).glob("rng-*.safetensors"))
        if len(states) != self.args.world_size:
            raise UserError(
                f"{checkpoint} was written by {len(states)} processes: resume with as many, not "
                f"{self.args.world_size}"
            )
        files.load_rng(Path(checkpoint) / f"rng-{self.args.process_index}.safetensors")
