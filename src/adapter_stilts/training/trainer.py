"""transformers' `Trainer` with batches by token budget and checkpoints that resume to the bit.

It is made of what transformers has for the purpose: methods that are meant to be overridden, and
callbacks. `AdapterTrainer` of `adapters` would add checkpoints that are pickles, weight decay of a
fusion's value matrix, and the loss of a head that is not called as its adapter.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers import TrainerControl as Control
from transformers import TrainerState as State
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import ExportableState
from transformers.utils import SAFE_WEIGHTS_NAME

from adapter_stilts.engine.engine import Engine, module_parameters
from adapter_stilts.engine.fusing import is_value, value_penalty
from adapter_stilts.errors import FailureError, NotFiniteError
from adapter_stilts.features import collate
from adapter_stilts.inference.vectors import dual_encoder_loss
from adapter_stilts.paths import atomic_folder
from adapter_stilts.training import checkpoint as files
from adapter_stilts.training.batching import BatchPlan, BatchSource, BatchSources
from adapter_stilts.training.callbacks import place_of_best, scores_so_far
from adapter_stilts.training.folders import latest_checkpoint
from adapter_stilts.training.recipe import Keep

Scorer = Callable[[], dict[str, float]]


class ModuleTrainer(Trainer, TrainerCallback):
    """Trains one module and its heads; every batch is of one source, through that one's head.

    What it changes in `Trainer`: the batches (a `BatchPlan` over the whole training, seen by
    transformers as one epoch), the evaluation (ours, by the official metrics), the parameter
    groups, and the checkpoints (safetensors, with the weights of the best step). It is the last of
    its own callbacks: so it clips, checks and saves after the others have said what they want.
    """

    control: Any
    lr_scheduler: Any
    model: Any
    optimizer: Any
    train_dataset: Any

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
        pad_id = engine.backbone.pad_id
        self._resumed: Path | None = None
        self._run = Path(str(args.output_dir))
        self._loss: torch.Tensor | float = 0.0
        self._norm: torch.Tensor | float = 0.0
        # The gradients are clipped here, where their norm is looked at.
        self._max_norm, args.max_grad_norm = args.max_grad_norm, 0.0
        super().__init__(
            engine.model,
            args,
            data_collator=lambda rows: {**collate(rows, pad_id), "source": rows[0]["source"]},
            train_dataset=BatchSources(sources),
            eval_dataset=sources[0].features.select(range(0)),
            callbacks=[*callbacks, self],
        )
        self._own = module_parameters(engine, name)
        # The progress bar shows what it would print.
        self.remove_callback(PrinterCallback)  # type: ignore[no-untyped-call]
        # With it, transformers leaves the division by accumulated batches to the model's loss,
        # which the heads of `adapters` do not do.
        self.model_accepts_loss_kwargs = False

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
            decayed = [p for key, p in self._own.items() if p.ndim >= 2 and not is_value(key)]
            others = [p for key, p in self._own.items() if p.ndim < 2 or is_value(key)]
            groups = [
                {"params": decayed, "weight_decay": self.args.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ]
            kind, options = self.get_optimizer_cls_and_kwargs(self.args)
            self.optimizer = kind([group for group in groups if group["params"]], **options)
        return self.optimizer

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Trains, without a walk over all parts of the model at every step."""
        self.model.train()
        with without_walks(self.model, list(self._own.values())):
            return super().train(*args, **kwargs)

    def training_step(
        self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Forward and backward; the loss is looked at later.

        A GPU gets the batch while it still computes the last step, and nothing waits for that.
        """
        device = self.engine.device
        if device.type == "cuda":
            number = inputs.pop("source")
            inputs = {**self.engine.moved(inputs), "source": number}
        loss = super().training_step(model, inputs, *args, **kwargs)
        self._loss = self._loss + loss
        return loss

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The head's loss, with attention that suits short sequences on a CPU."""
        source = self._sources[inputs.pop("source")]
        self.engine.model.active_head = source.head or None
        with self.engine.saving():
            if "query_ids" in inputs:
                return dual_encoder_loss(model, inputs)
            loss = super().compute_loss(model, inputs, *args, **kwargs)
        loss = source.scale(loss, inputs["attention_mask"])
        penalty = value_penalty(self.engine, self.name)
        return loss if penalty is None else loss + penalty

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: the estimate walks over all parameters at every step."""
        return 0

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Dev scores by the task's metric, named `eval_...` as transformers expects."""
        metrics = self._score_dev()
        if self._keep == "best":
            scores = scores_so_far(self.args, self.state)
            if place_of_best(scores) == len(scores) - 1:
                self.best = self.weights()
        if self._keep == "mean":
            self.recent = [*self.recent, self.weights()][-self._average_last :]
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _score_dev(self) -> dict[str, float]:
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
        return {
            key: parameter.detach().to("cpu", copy=True) for key, parameter in self._own.items()
        }

    def restore(self, tensors: files.Tensors, path: Path) -> None:
        """Sets the module's and its head's weights to those of a checkpoint's file."""
        files.copy_into(self._own, tensors, path)

    def log(self, logs: dict[str, float], *args: Any) -> None:
        """Notes the gradients' norm beside the loss."""
        norm = {"grad_norm": float(self._norm)} if "loss" in logs else {}
        super().log({**logs, **norm}, *args)

    def on_train_begin(self, args: Any, state: State, control: Control, **kwargs: Any) -> None:
        """Goes on with the optimizer as it was."""
        if self._resumed is not None:
            path = self._resumed / files.OPTIMIZER
            files.load_optimizer(path, self.optimizer, self.lr_scheduler)

    def on_step_begin(self, args: Any, state: State, control: Control, **kwargs: Any) -> None:
        """Goes on, at the first step, with the random numbers that would have come."""
        checkpoint, self._resumed = self._resumed, None
        if checkpoint is not None:
            files.load_rng_of(checkpoint, args.process_index, args.world_size)

    def on_pre_optimizer_step(
        self, args: Any, state: State, control: Control, **kwargs: Any
    ) -> None:
        """Limits the norm of the gradients of a step."""
        if self._max_norm:
            self._norm = torch.nn.utils.clip_grad_norm_(self._own.values(), self._max_norm)

    def on_step_end(self, args: Any, state: State, control: Control, **kwargs: Any) -> Control:
        """Saves where that is asked for, in place of transformers, whose checkpoints are pickles.

        Where an evaluation is due, it comes first.

        Raises:
            FailureError: the training has diverged; nothing of the step is kept.
        """
        # Reading the loss makes a GPU wait, so there it is done only where it is read anyway.
        on_gpu = isinstance(self._loss, torch.Tensor) and self._loss.is_cuda
        if not on_gpu or control.should_log or control.should_evaluate or control.should_save:
            loss, norm = float(self._loss), float(self._norm)
            stop_if_diverged(state.global_step, loss, norm, lr=args.learning_rate, work=self._run)
            self._loss = 0.0
        wanted, control.should_save = control.should_save, False
        if wanted and not control.should_evaluate:
            self.save_checkpoint()
        return control

    def on_evaluate(self, args: Any, state: State, control: Control, **kwargs: Any) -> None:
        """Saves what has been scored."""
        self.save_checkpoint()

    def take_kept(self) -> None:
        """Sets the weights to those that are kept: the best step's, or the last ones' mean."""
        if self.best is not None:
            self.restore(self.best, self._run / files.BEST)
        if self.recent:
            self.restore(files.mean_of(self.recent), self._run)
            self._score_dev()

    def save_checkpoint(self) -> None:
        """Writes a checkpoint, which replaces earlier ones; every process has to ask for it."""
        run = self._run
        target = run / f"checkpoint-{self.state.global_step}"
        kept: Any = self.state.stateful_callbacks  # annotated as a list, but kept by name
        for callback in [*self.callback_handler.callbacks, self.control]:
            if isinstance(callback, ExportableState):
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
        self.control = self.callback_handler.on_save(self.args, self.state, self.control)

    def read_checkpoint(self, checkpoint: Path) -> None:
        """Sets the weights to those of a checkpoint, and knows again which were the best."""
        self.restore(files.read_tensors(checkpoint / files.MODULE), checkpoint / files.MODULE)
        if (checkpoint / files.BEST).exists():
            self.best = files.read_tensors(checkpoint / files.BEST)
        self.recent = files.read_recent(checkpoint)

    def train_from(self, checkpoint: Path) -> None:
        """Goes on from a checkpoint that has been read."""
        self._resumed = checkpoint
        with TemporaryDirectory() as folder:
            # What transformers looks for: its own record, and weights, which are set already.
            copyfile(checkpoint / TRAINER_STATE_NAME, Path(folder) / TRAINER_STATE_NAME)
            save_file({}, Path(folder) / SAFE_WEIGHTS_NAME)
            self.train(resume_from_checkpoint=folder)


def stop_if_diverged(step: int, loss: float, gradient: float, *, lr: float, work: Path) -> None:
    """Ends a training (FailureError) whose loss or gradients' norm is no finite number."""
    if math.isfinite(loss) and math.isfinite(gradient):
        return
    what = f"loss {loss}" if not math.isfinite(loss) else f"gradient norm {gradient}"
    last = latest_checkpoint(work)
    kept = f"; the last good checkpoint is kept in {last}" if last else ""
    raise FailureError(
        f"the training diverged at step {step} ({what}): lower --lr (now {lr:g}) and begin anew "
        f"with --overwrite{kept}"
    )


@contextmanager
def without_walks(model: torch.nn.Module, own: Sequence[torch.nn.Parameter]) -> Iterator[None]:
    """`model.train()` and `model.zero_grad()` do no more here than they have to.

    transformers calls both at every step, and each walks over the thousand parts of a model with
    adapters, almost always for nothing. The model is training, and set to evaluate and to train
    only as a whole; only the parameters of `own` get a gradient.
    """
    set_mode = model.train

    def train(mode: bool = True) -> torch.nn.Module:
        return model if model.training == mode else set_mode(mode)

    def zero_grad(set_to_none: bool = True) -> None:
        for parameter in own:
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad = parameter.grad.detach().zero_()

    vars(model).update(train=train, zero_grad=zero_grad)
    try:
        yield
    finally:
        del vars(model)["train"], vars(model)["zero_grad"]
