"""The engine: a frozen trunk in memory, and the modules that are added, activated and run in it."""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import adapters
import torch
from adapters.composition import Fuse, Stack
from torch import Tensor, nn

from adapter_stilts.backbones import Backbone, default_device, fingerprint, resolve_precision
from adapter_stilts.backbones.tokenizer import quieten
from adapter_stilts.engine.attention import fast_attention
from adapter_stilts.engine.composition import Expression, build_stack, canonical
from adapter_stilts.engine.methods import Method, MethodOptions
from adapter_stilts.engine.native import BUILDING, builds
from adapter_stilts.engine.patches import patch_layers
from adapter_stilts.engine.words import leave_words_on_disk
from adapter_stilts.environment import return_freed, return_large_blocks
from adapter_stilts.errors import NotFiniteError, UserError
from adapter_stilts.heads import PLAIN, get_head, settle
from adapter_stilts.tasks.spec import HeadKind


@dataclass
class Engine:
    """A backbone in memory, frozen, to which modules and heads are added.

    `fingerprint` identifies the trunk's weights whatever the precision they run in; `dtype` is
    that precision. `modules` holds the parameters of every module by its name inside the engine,
    `names` that name by the content of a module read from disk, or by the text of a merge,
    `fusions` the sources and the shape of every fusion. With `offload`, what a training on a GPU
    keeps for the backward pass waits in the machine's memory. Whoever lets several threads ask it
    holds the `lock`: where texts are cut is kept in the tokenizer.
    """

    model: Any  # a transformers model with what `adapters` mixes in at run time
    backbone: Backbone
    fingerprint: str
    dtype: torch.dtype
    offload: bool = False
    modules: dict[str, tuple[str, ...]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    fusions: dict[str, tuple[tuple[Expression, ...], Any]] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock, repr=False, compare=False)

    @property
    def identity(self) -> dict[str, str]:
        """What a record says of the backbone."""
        return {
            "name": self.backbone.name,
            "revision": self.backbone.revision,
            "model_type": str(self.model.config.model_type),
            "fingerprint": self.fingerprint,
        }

    @property
    def device(self) -> torch.device:
        """Where the trunk lies."""
        return torch.device(self.model.device)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inside it the trunk runs without gradients, in its precision, with fast attention."""
        half = self.dtype == torch.bfloat16
        autocast = torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half)
        with torch.inference_mode(), autocast, fast_attention(self.device):
            yield

    @contextmanager
    def saving(self) -> Iterator[None]:
        """What is computed inside it keeps for the backward pass what the engine says, there."""
        with fast_attention(self.device):
            if not self.offload:
                yield
                return
            with torch.autograd.graph.save_on_cpu(pin_memory=self.device.type == "cuda"):
                yield

    def moved(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The batch on the trunk's device, shapes as they were; a copy is not waited for."""
        return {key: value.to(self.device, non_blocking=True) for key, value in batch.items()}

    @contextmanager
    def adding(self, name: str, *, trainable: bool = False) -> Iterator[None]:
        """All parameters that the model gets inside it become a module's own, in float32."""
        before = {key for key, _ in self.model.named_parameters()}
        yield
        added = {key: p for key, p in self.model.named_parameters() if key not in before}
        self.modules[name] = tuple(added)
        for parameter in added.values():
            parameter.data = parameter.data.to(self.device, torch.float32)
            parameter.requires_grad_(trainable)

    @property
    def layers(self) -> int:
        """Number of transformer layers in the trunk."""
        return int(self.model.config.num_hidden_layers)


_OF_TORCH = frozenset((*dir(nn.ModuleDict()), *dir(nn.ParameterDict())))


_WIDE = 1024
"""The width of XLM-R Large's layers."""


def return_memory(engine: Engine) -> None:
    """Gives back what is free before a training; in that of a wide trunk, large blocks at once.

    Taking them anew from the machine costs time, of which a narrow trunk has little to spare: it
    computes little for each. Answers without a training take more time than memory.
    """
    if engine.model.config.hidden_size >= _WIDE:
        return_large_blocks()
    return_freed()


def free_name(engine: Engine, wanted: str) -> str:
    """What a module is called inside the engine: as itself, where that can be.

    torch's containers have methods, such as `to`, `type` and `train`, that no module in them may
    be called after; `adapters` reads commas and brackets as compositions.
    """
    name = re.sub(r"[^\w+-]+", "-", wanted)
    while name in engine.modules or name in _OF_TORCH:
        name += "_"
    return name


def load_engine(
    backbone: Backbone,
    *,
    precision: str = "auto",
    device: torch.device | None = None,
    trunk_dropout: bool = False,
    offload: bool = False,
) -> Engine:
    """Loads the trunk, frozen, in the precision asked for; on a CPU its words stay on disk.

    So they do on a GPU with `offload`, see `Engine`, which goes with `recompute_activations`.
    Without a `device` it is the GPU, if there is one.

    Dropout is off in the trunk unless `trunk_dropout`: its weights do not change, so dropout only
    adds noise and, on a CPU, doubles the time of a step. Refuses weights that are damaged, or not
    those of the configuration.
    """
    device = device or default_device()
    dtype = resolve_precision(precision, device)
    # Heads are kept in the configuration: every model gets its own copy (never shared).
    config = copy.deepcopy(backbone.config)
    if not trunk_dropout:
        config.hidden_dropout_prob = 0.0
        config.attention_probs_dropout_prob = 0.0
    quieten()
    # Without a folder the library has nothing to look up in it: neither code nor other weights.
    with BUILDING:
        kind = _class_of(config.model_type)
        prefix = kind.base_model_prefix
        model = kind.from_pretrained(
            None,
            config=config,
            state_dict={f"{prefix}.{name}": each for name, each in backbone.weights().items()},
            dtype=torch.float32,
        )
    patch_layers(model)
    # `adapters` writes it into every file: the name of the backbone, not a folder of this machine.
    model.config.name_or_path = backbone.name
    identity = fingerprint(model.base_model.state_dict())
    if device.type == "cpu" or offload:
        leave_words_on_disk(model, backbone.words(), dtype)
    model.to(device=device, dtype=dtype)
    model.requires_grad_(False)
    model.eval()
    return Engine(model, backbone, identity, dtype, offload)


def _class_of(model_type: str) -> Any:
    """The library's model for one of `backbones.configuration.Architecture`."""
    classes = {
        "bert": adapters.BertAdapterModel,
        "roberta": adapters.RobertaAdapterModel,
        "xlm-roberta": adapters.XLMRobertaAdapterModel,
    }
    return classes[model_type]


@builds
def add_module(
    engine: Engine,
    name: str,
    method: Method,
    options: MethodOptions,
    *,
    head: HeadKind = PLAIN,
    labels: Sequence[str] = (),
    choices: int = 0,
    on: Expression | None = None,
) -> None:
    """Adds a new module with its head and makes both trainable; everything else stays frozen.

    Without a kind of head there is none: `add_head` and `native.claim_head` add some.

    Module and head are float32 whatever the trunk's precision. With `on`, the module stands on top
    of what is in the engine already. Refuses to leave out a layer that the backbone does not have.
    """
    wrong = [layer for layer in options.leave_out if not 0 <= layer < engine.layers]
    if wrong:
        raise UserError(
            f"cannot leave out layer {wrong[0]}: backbone '{engine.backbone.name}' has layers "
            f"0 to {engine.layers - 1}"
        )
    if method.config is None:
        raise UserError(f"method '{method.name}' fuses modules: see `adstilts fuse`")
    model = engine.model
    model.requires_grad_(False)  # `adapters` would leave other modules' heads to learn
    model.add_adapter(name, config=method.config(options))
    add_head(engine, name, head, labels=labels, choices=choices)
    model.train_adapter(name)
    activate_block(engine, block_of(name if on is None else build_stack(on, name)), name)
    trainable = tuple(n for n, p in model.named_parameters() if p.requires_grad)
    engine.modules[name] = trainable
    for parameter_name, parameter in model.named_parameters():
        if parameter_name in set(trainable):
            parameter.data = parameter.data.float()


def block_of(expression: Expression) -> Any:
    """What `adapters` activates for an expression over names inside the engine."""
    if isinstance(expression, str):
        return expression
    parts = map(block_of, expression.parts)
    if expression.operator == "stack":
        return Stack(*parts)
    return Fuse(*parts, name=expression.by or canonical(expression))


def activate_block(engine: Engine, block: Any, name: str) -> None:
    """Makes the engine run a block (None: the plain trunk) with the head of that name, if any."""
    engine.model.set_active_adapters(block)
    engine.model.active_head = name if name in engine.model.heads else None


def copy_weights(engine: Engine, source: str, target: str, *, head_only: bool) -> bool:
    """Starts a module (or only its head) from another's weights, and says whether these fit."""
    parameters = dict(engine.model.named_parameters())
    pairs = []
    for key in engine.modules[target]:
        if head_only and not key.startswith(f"heads.{target}."):
            continue
        parts = [source if part == target else part for part in key.split(".")]
        other = parameters.get(".".join(parts))
        if other is None or other.shape != parameters[key].shape:
            return False
        pairs.append((parameters[key], other))
    with torch.no_grad():
        for parameter, other in pairs:
            parameter.copy_(other)
    return bool(pairs)


@builds
def add_head(
    engine: Engine,
    name: str,
    kind: HeadKind,
    *,
    labels: Sequence[str] = (),
    choices: int = 0,
    dropout: float = 0.0,
) -> None:
    """Adds a prediction head of `adapters`, shaped like the one in the backbone's own class.

    The shapes are those of `XLMRobertaForSequenceClassification` and the like, so that a LoRA can
    be handed on to peft together with its head. Sentence vectors come from the trunk: the kind
    `embedding` has no head at all.
    """
    own = get_head(kind)
    if not own.has_weights:
        return
    model = engine.model
    own.add(model, name, labels, choices)
    for module in model.heads[name].modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    model.heads[name].to(device=engine.device, dtype=torch.float32)
    settle(model.heads[name])


def module_parameters(engine: Engine, name: str) -> dict[str, nn.Parameter]:
    """The module's and its head's parameters by their full names in the model."""
    model = engine.model  # asked by name: a walk over all its parts takes a hundred times longer
    return {key: model.get_parameter(key) for key in engine.modules[name]}


def layer_of(parameter: str) -> int | None:
    """The number of the trunk layer a parameter belongs to; None for heads and shared parts."""
    _, found, rest = parameter.partition(".layer.")
    return int(rest.split(".", 1)[0]) if found else None


def forward(engine: Engine, batch: dict[str, Tensor]) -> Any:
    """One pass without gradients in the trunk's precision; logits come back as float32.

    The `batch` has `input_ids` and `attention_mask`, (rows, tokens), and what else the head reads.
    It fails as `check_outputs`.
    """
    with engine.running():
        output = engine.model(**engine.moved(batch))
    check_outputs(output.values(), of=_running(engine))
    return output


def check_outputs(values: Iterable[Any], *, of: str, module: str = "") -> None:
    """Refuses (NotFiniteError) to go on with what is no number: what is made of it would mislead.

    Of the `values` all but tensors of floats is passed over. For the message, `of` says whose they
    are, `module` what that is called in the engine, where several ran together.
    """
    for value in values:
        if isinstance(value, Tensor) and value.is_floating_point() and not value.isfinite().all():
            raise NotFiniteError(
                f"{of} gives values that are not finite numbers, so there is no result: its "
                "weights do not suit the backbone or the precision (try --precision fp32)",
                module=module,
            )


def _running(engine: Engine) -> str:
    """What runs in the engine, for messages."""
    name = engine.model.active_head or engine.model.active_adapters
    return f"module '{name}'" if name else f"backbone '{engine.backbone.name}'"


def layers_below(engine: Engine, modules: Iterable[str]) -> int:
    """How many layers, from the bottom, none of the modules (by name in the engine) touches."""
    lowest = engine.layers
    for name in modules:
        for parameter in engine.modules[name]:
            if parameter.startswith("heads."):
                continue
            layer = layer_of(parameter)
            # A part outside the layers may act on what enters them.
            lowest = min(lowest, 0 if layer is None else layer)
    return lowest


class SharedPrefix(nn.Module):
    """Keeps what leaves the lower layers at a batch's first pass, for the passes after it.

    No module changes what the layers below the lowest module see, so what leaves them is the same
    for several compositions.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self._layers = tuple(layers)
        self._kept: Any = None

    def forget(self) -> None:
        """To be called before the first pass of every batch."""
        self._kept = None

    def forward(self, hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        """What leaves the highest of these layers, computed at the first pass."""
        if self._kept is None:
            for layer in self._layers:
                (hidden_states, *_) = layer(hidden_states, *args, **kwargs)
            self._kept = (hidden_states,)
        return self._kept


@contextmanager
def shared_prefix(engine: Engine, layers: int) -> Iterator[SharedPrefix]:
    """Inside this context the lowest `layers` layers run once a batch, whatever is active.

    Every pass between two calls of `forget` must be over the same batch. The outputs are the
    same to the bit as without it.
    """
    encoder = engine.model.base_model.encoder
    whole = encoder.layer
    prefix = SharedPrefix(whole[:layers])
    encoder.layer = nn.ModuleList([prefix, *whole[layers:]] if layers else whole)
    try:
        yield prefix
    finally:
        encoder.layer = whole
        prefix.forget()
