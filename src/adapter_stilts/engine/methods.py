"""The kinds of module that can be trained, by the names users type; which stack, fuse and merge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from adapter_stilts.engine.composition import Expression, canonical, fusings, merges, module_names
from adapter_stilts.errors import UserError
from adapter_stilts.registered import Known

if TYPE_CHECKING:
    from adapters import AdapterConfig


@dataclass(frozen=True)
class MethodOptions:
    """What a recipe says about the module's shape.

    `reduction_factor` is hidden size over bottleneck size; `rank` and `alpha` are LoRA's r and
    alpha (None: the method's default); `leave_out` numbers layers, from 0 at the bottom, that
    get no module.
    """

    reduction_factor: int | None = None
    rank: int | None = None
    alpha: int | None = None
    leave_out: Sequence[int] = ()


ALL_LAYERS = tuple(range(1000))
"""More layers than any trunk has: leaving them all out leaves the head alone."""


Family = Literal["bottleneck", "lora", "dora", "ia3", "fusion"]
Size = Literal["reduction_factor", "rank", "alpha"]
SIZES: tuple[Size, ...] = get_args(Size)


Build = Callable[[MethodOptions], "AdapterConfig"]


@dataclass(frozen=True)
class Method:
    """A way of adapting the trunk, its configuration in `adapters`, and where it comes from.

    Methods of one family can be stacked, fused and merged with each other. An `invertible` one has
    a part at the embeddings too, so it works at the bottom of a composition only. `rates_of` is
    the method whose usual learning rates it takes, if it has none of its own. `sizes` are the
    options that decide how large a module is; None where a plug-in's configuration decides.
    """

    name: str
    summary: str
    config: Build | None
    peft: bool = False
    family: Family = "bottleneck"
    invertible: bool = False
    rates_of: str = ""
    sizes: tuple[Size, ...] | None = None


def _config(kind: str, leave_out: Sequence[int], **values: Any) -> AdapterConfig:
    """A configuration of `adapters`, whose import takes seconds and is left to the last moment."""
    import adapters

    return getattr(adapters, kind)(**values, leave_out=list(leave_out))


def _bottleneck(kind: str, reduction: int) -> Build:
    return lambda options: _config(
        kind, options.leave_out, reduction_factor=options.reduction_factor or reduction
    )


def _lora(kind: str, matrices: Sequence[str], **more: bool) -> Build:
    return lambda options: _config(
        kind,
        options.leave_out,
        r=options.rank or 8,
        alpha=options.alpha or 16,
        attn_matrices=list(matrices),
        **more,
    )


def _fusion(kind: str, summary: str, *sizes: Size) -> Method:
    return Method(f"fusion-{kind}", summary, None, family="fusion", sizes=sizes)


_METHODS = (
    Method(
        "bottleneck",
        "one bottleneck adapter after the feed-forward block (Pfeiffer et al. 2021)",
        _bottleneck("SeqBnConfig", 16),
        sizes=("reduction_factor",),
    ),
    Method(
        "double-bottleneck",
        "bottleneck adapters after attention and after feed-forward (Houlsby et al. 2019)",
        _bottleneck("DoubleSeqBnConfig", 16),
        sizes=("reduction_factor",),
    ),
    Method(
        "parallel-bottleneck",
        "a scaled bottleneck adapter beside the feed-forward block (He et al. 2022)",
        _bottleneck("ParBnConfig", 2),
        sizes=("reduction_factor",),
    ),
    Method(
        "invertible",
        "a bottleneck adapter in every layer and an invertible one at the embeddings (MAD-X, "
        "Pfeiffer et al. 2020)",
        _bottleneck("SeqBnInvConfig", 2),
        sizes=("reduction_factor",),
        invertible=True,
    ),
    Method(
        "double-invertible",
        "two bottleneck adapters in every layer and an invertible one at the embeddings",
        _bottleneck("DoubleSeqBnInvConfig", 2),
        sizes=("reduction_factor",),
        invertible=True,
    ),
    Method(
        "lora",
        "low-rank updates of the query and value projections (Hu et al. 2022)",
        _lora("LoRAConfig", "qv"),
        peft=True,
        family="lora",
        sizes=("rank", "alpha"),
    ),
    Method(
        "lora-all",
        "low-rank updates of query, key, value and both feed-forward projections",
        _lora("LoRAConfig", "qkv", intermediate_lora=True, output_lora=True),
        peft=True,
        family="lora",
        sizes=("rank", "alpha"),
    ),
    Method(
        "dora",
        "LoRA with the magnitude of the weights learnt apart (Liu et al. 2024)",
        _lora("DoRAConfig", "qv"),
        family="dora",
        sizes=("rank", "alpha"),
    ),
    Method(
        "ia3",
        "learnt scalings of keys, values and feed-forward activations (Liu et al. 2022)",
        lambda options: _config("IA3Config", options.leave_out),
        family="ia3",
        sizes=(),
    ),
    Method(
        "head",
        "nothing but the prediction head: the probe that a module has to beat",
        lambda options: _config("SeqBnConfig", ALL_LAYERS),
        sizes=(),
    ),
    _fusion("full", "attention over modules at full width (AdapterFusion, Pfeiffer et al. 2021)"),
    _fusion("lean", "attention over modules with low-rank queries and keys", "rank"),
    _fusion(
        "shared",
        "attention over modules with low-rank queries and keys, the same in all layers",
        "rank",
    ),
    _fusion("uniform", "the mean of modules"),
    _fusion(
        "arrow", "LoRAs chosen by each token's input, without training (Ostapenko et al. 2024)"
    ),
)

BUILT_IN_METHODS: Mapping[str, Method] = MappingProxyType({each.name: each for each in _METHODS})


METHODS = Known("adapter method", lambda: BUILT_IN_METHODS)
"""The package's methods and those of plug-ins."""
DEFAULT_METHOD = "bottleneck"
LANGUAGE_METHOD = "invertible"
"""The usual one of a language's module."""


def is_fusion(method: str) -> bool:
    """Whether a method is a way of fusing modules, and no module by itself."""
    return METHODS[method].family == "fusion" if method in METHODS else False


def is_invertible(method: str) -> bool:
    """Whether modules of a method have a part at the embeddings."""
    return METHODS[method].invertible if method in METHODS else False


def get_method(name: str) -> Method:
    """The method of that name; refuses a name that no method has."""
    return METHODS.find("method", name)


def unused_sizes(name: str, given: Mapping[str, int]) -> Iterator[str]:
    """The sizes `given` (not 0) that a method does not have, each with the methods that have it."""
    method = get_method(name)
    for size in SIZES:
        if given.get(size) and method.sizes is not None and size not in method.sizes:
            having = [each.name for each in METHODS.values() if size in (each.sizes or ())]
            yield f"{size.replace('_', '-')} (of {', '.join(having)})"


NOT_SHARED = "a fusion of LoRAs cannot be shared, as their layers differ: use --kind lean"
LORAS_ALONE = "arrow chooses among LoRAs: take uniform, or a learnt fusion, for other modules"


def check_methods(expression: Expression, methods: Mapping[str, str]) -> None:
    """Refuses a composition whose modules cannot be merged, fused or stacked as it says.

    `methods` are those of every module by its name, from the bottom up.
    """
    _check_mergeable(expression, methods)
    check_fusable(expression, methods)
    check_stackable(expression, methods)


def check_fusable(expression: Expression, methods: Mapping[str, str]) -> None:
    """Refuses fusions of modules that are not of one kind, or of a kind that cannot be fused."""
    for fusion in fusings(expression):
        for part in fusion.parts:
            if merges(part):
                raise UserError(
                    f"'{canonical(part)}' cannot be fused: write it as a module with `adstilts "
                    "merge`, and fuse that"
                )
            if fusings(part):
                raise UserError(
                    f"'{canonical(part)}' is a fusion inside a fusion, which `adapters` does not "
                    "have: fuse its modules together with the others, or stack a module on it"
                )
            _check_source(part, [(name, methods[name]) for name in module_names(part)])
        every = [name for part in fusion.parts for name in module_names(part)]
        first = every[0]
        for name in every if fusion.operator == "arrow" else ():
            if get_method(methods[name]).family != "lora":
                raise UserError(f"'{name}' ({methods[name]}) is no LoRA: {LORAS_ALONE}")
        for name in every[1:]:
            if _fusable_with(methods[first]) != _fusable_with(methods[name]):
                raise UserError(
                    f"'{first}' ({methods[first]}) and '{name}' ({methods[name]}) are of two "
                    "kinds: fuse bottleneck modules of one method with each other, or LoRAs with "
                    "each other"
                )


def _check_part(name: str, method: str, what: str, invertible: str) -> None:
    """Refuses a module of a kind that cannot be fused or merged; `invertible` is why not these."""
    if get_method(method).family not in ("bottleneck", "lora") or method == "head":
        raise UserError(f"'{name}' ({method}) cannot be {what}: bottleneck modules and LoRAs can")
    if is_invertible(method):
        why = f"its part at the embeddings {invertible}"
        raise UserError(f"'{name}' ({method}) cannot be {what}: {why}")


def _check_source(part: Expression, modules: Sequence[tuple[str, str]]) -> None:
    for name, method in modules:
        why = f"would act on all sources; put it below the fusion, as in stack({name}, fuse(...))"
        _check_part(name, method, "fused", why)
    if len(modules) > 1 and modules[0][1] == "parallel-bottleneck":
        raise UserError(
            f"'{canonical(part)}' cannot be fused: of stacked parallel-bottleneck modules only "
            "the last one acts; fuse single ones, or modules of method bottleneck"
        )


def _fusable_with(method: str) -> str:
    """What modules have in common that can be fused: LoRAs of any shape, bottlenecks of one."""
    return "lora" if get_method(method).family == "lora" else method


def check_stackable(expression: Expression, methods: Mapping[str, str]) -> None:
    """Refuses modules that change the same weights in ways that do not go together."""
    _check_parallel(expression, methods)
    _check_invertible(expression, methods)
    first: tuple[str, str] | None = None
    for name, method in methods.items():
        family = get_method(method).family
        if family in ("bottleneck", "fusion"):
            continue
        if first and (family != first[1] or family == "dora"):
            raise UserError(
                f"'{name}' ({method}) cannot be stacked with '{first[0]}' "
                f"({methods[first[0]]}): they change the same weights in different ways; "
                "bottleneck modules stack with any other, LoRA with LoRA, (IA)3 with (IA)3"
            )
        first = first or (name, family)


def _check_invertible(expression: Expression, methods: Mapping[str, str]) -> None:
    """`adapters` 1.3 takes the part at the embeddings of the first module and drops others'."""
    lowest, *others = module_names(expression)
    for name in others:
        if is_invertible(methods[name]):
            raise UserError(
                f"'{name}' ({methods[name]}) has a part at the embeddings, which acts only at the "
                f"bottom of a stack, not above '{lowest}'"
            )


def _check_parallel(expression: Expression, methods: Mapping[str, str]) -> None:
    """In `adapters` 1.3 a parallel adapter replaces what the bottleneck below it has added."""
    if isinstance(expression, str):
        return
    below = ""
    for part in expression.parts:
        _check_parallel(part, methods)
        kinds = {methods[name]: name for name in module_names(part)}
        if expression.operator == "stack" and below and "parallel-bottleneck" in kinds:
            raise UserError(
                f"'{kinds['parallel-bottleneck']}' (parallel-bottleneck) cannot be stacked on "
                f"'{below}' ({methods[below]}), whose work it would replace: methods bottleneck "
                "and double-bottleneck stack"
            )
        bottlenecks = [
            name
            for name in module_names(part)
            if get_method(methods[name]).family == "bottleneck" and methods[name] != "head"
        ]
        below = bottlenecks[-1] if bottlenecks else below


def _check_mergeable(expression: Expression, methods: Mapping[str, str]) -> None:
    """Refuses merges of modules that are not of one kind, or of a kind that cannot be merged."""
    for merge in merges(expression):
        names = module_names(merge)
        first, family = names[0], get_method(methods[names[0]]).family
        for name in names:
            why = "is no sum, of which there could be a mean"
            _check_part(name, methods[name], "merged", why)
            if get_method(methods[name]).family != family:
                both = f"'{first}' ({methods[first]}) and '{name}' ({methods[name]})"
                raise UserError(
                    f"{both} are of two kinds: merge bottleneck modules with each other, or LoRAs "
                    "with each other"
                )
