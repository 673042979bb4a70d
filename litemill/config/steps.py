"""The vocabulary of recipes: the steps there are, their options, and the orders that can work.

A recipe is a list of train-aware steps that ends in one conversion scheme. Everything else in Litemill looks
a step up here: the run config, the plan, the components and the documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from litemill.config.base import Section, first_mistake, nearest
from litemill.config.schemes import SCHEMES, Options, Scheme
from litemill.errors import ConfigError, shown
from litemill.plugins import OURS


class TrainOptions(Options):
    """What every train-aware step takes: overrides of the run's `training` section for this step alone."""

    epochs: PositiveInt | None = Field(None, description="epochs of this step instead of training.epochs")
    learning_rate: PositiveFloat | None = Field(None, description="peak rate instead of training.learning_rate")


class LayerOptions(TrainOptions):
    """Which layers a step touches: by name or type, with `*` and `?` as wildcards."""

    include: list[str] = Field(
        default_factory=list, description="touch these layers only, also the ones left alone by default"
    )
    exclude: list[str] = Field(default_factory=list, description="never touch these layers")
    min_weights: int = Field(512, ge=0, description="kernels with fewer weights are left alone")


class FinetuneOptions(TrainOptions):
    """Further training without any compression: the control that the other steps are compared with."""


class PruneOptions(LayerOptions):
    """Magnitude pruning. The first convolution and the last dense layer are left alone unless included by name."""

    sparsity: float = Field(0.5, ge=0.1, le=0.95, description="fraction of each layer's weights that become zero")
    schedule: Literal["polynomial", "constant"] = Field(
        "polynomial", description="raise the sparsity gradually (Zhu & Gupta, 2017) or ask for all of it at once"
    )
    begin: float = Field(0.0, ge=0.0, lt=1.0, description="where pruning starts, as a fraction of the steps")
    end: float = Field(0.6, gt=0.0, le=0.95, description="where the final sparsity is reached; the rest recovers")
    m_by_n: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="[2, 4]: at least 2 zeros in each 4 consecutive input channels; sets the sparsity"
    )
    block: tuple[PositiveInt, PositiveInt] = Field((1, 1), description="[height, width] of the blocks of dense layers")

    @model_validator(mode="after")
    def _one_pattern(self) -> PruneOptions:
        if self.begin >= self.end:
            raise ValueError(f"begin ({self.begin}) must be before end ({self.end})")
        if self.m_by_n is None:
            return self
        zeros, group = self.m_by_n
        if zeros >= group:
            raise ValueError(f"m_by_n {zeros}:{group} would leave no weight; the first number is the zeros of a group")
        if self.block != (1, 1):
            raise ValueError("m_by_n and block are two patterns: give one of them")
        if "sparsity" in self.model_fields_set and self.sparsity != zeros / group:
            raise ValueError(f"m_by_n {zeros}:{group} is a sparsity of {zeros / group}, not {self.sparsity}")
        return self

    @property
    def target(self) -> float:
        """The sparsity asked for: that of the pattern where there is one."""
        return self.m_by_n[0] / self.m_by_n[1] if self.m_by_n else self.sparsity


class ClusterOptions(LayerOptions):
    """Weight clustering: the weights of a layer share a few values. Keeps the zeros of an earlier `prune`."""

    clusters: int = Field(16, ge=2, le=256, description="distinct values in a layer (or in each of its channels)")
    initialization: Literal["kmeans++", "linear", "density", "random"] = Field(
        "kmeans++", description="how the first centroids are chosen"
    )
    per_channel: bool = Field(False, description="give each output channel of a convolution its own centroids")


class QatOptions(TrainOptions):
    """Quantization-aware training, 8 bit. Keeps what an earlier `prune` or `cluster` reached (PQAT, CQAT, PCQAT)."""

    exclude: list[str] = Field(default_factory=list, description="layers that are trained without quantization")
    unsupported: Literal["fail", "float"] = Field(
        "fail", description="a layer that TFMOT cannot quantize fails the recipe, or stays float in training"
    )


TRAIN_STEPS: dict[str, type[TrainOptions]] = {
    "finetune": FinetuneOptions,
    "prune": PruneOptions,
    "cluster": ClusterOptions,
    "qat": QatOptions,
}
"""Train-aware steps by name, in the only order in which they can be combined."""


def step_names() -> list[str]:
    """Names of all steps, the train-aware ones first."""
    return [*TRAIN_STEPS, *SCHEMES]


def options_of(name: str) -> type[Options]:
    """The model of a step's options.

    Raises:
        ConfigError: There is no such step, or the package that brings it cannot be used.
    """
    if name not in TRAIN_STEPS:
        return SCHEMES[name].options
    if name in SCHEMES:
        raise ConfigError(f"step {name!r} is claimed by 2 packages: {OURS}, {SCHEMES.brought_by(name)}")
    return TRAIN_STEPS[name]


class Step(Section):
    """One step of a recipe: its name and its validated options."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _options_fit(self) -> Step:
        try:
            object.__setattr__(self, "options", self.parsed().carried(self.options))
        except ConfigError as error:
            raise ValueError(str(error)) from None
        except ValidationError as error:
            raise ValueError(f"step {self.name!r}: {first_mistake(error, options_of(self.name))}") from None
        return self

    @property
    def is_scheme(self) -> bool:
        """Whether this step is a conversion."""
        return self.name not in TRAIN_STEPS

    def parsed(self) -> Options:
        """The options as their typed model, defaults filled in."""
        return options_of(self.name).model_validate(self.options)

    @property
    def scheme(self) -> Scheme:
        """The record of the conversion that this step is."""
        return SCHEMES[self.name]


def named_by(patterns: Sequence[str], name: str, kind: str) -> bool:
    """Whether one of the patterns (with `*` and `?`) fits a layer's name or type."""
    return any(fnmatchcase(text, pattern) for pattern in patterns for text in (name, kind))


def parse_step(written: Step | str | dict[str, Any]) -> Step:
    """Turn what a user wrote (`int8` or `{prune: {sparsity: 0.5}}`) into a step.

    Raises:
        ValueError: The step is unknown or not of that form (pydantic reports it with its place).
    """
    if isinstance(written, Step):
        return written
    if isinstance(written, str):
        name, options = written, dict[str, Any]()
    elif isinstance(written, dict) and written.keys() == {"name", "options"}:  # a spec that was written as data
        name, options = written["name"], written["options"]
    elif isinstance(written, dict) and len(written) == 1:
        name, options = next(iter(written.items()))
        options = {} if options is None else options
    else:
        raise ValueError(f"a step is a name or one name with its options, not {shown(written)}")
    if name not in step_names():
        raise ValueError(f"unknown step {shown(name)}; {nearest(name, step_names())}")
    if not isinstance(options, dict):
        raise ValueError(f"options of step {name!r} are a mapping, not {shown(options)}")
    return Step(name=name, options=options)


def check_order(steps: Sequence[Step]) -> None:
    """Refuse an order that cannot work.

    Raises:
        ValueError: No scheme, a scheme that is not last, or a train-aware step in an impossible place.
    """
    if not steps:
        raise ValueError("a recipe needs at least a conversion scheme")
    names = [step.name for step in steps]
    for position, name in enumerate(names[:-1]):
        if name in SCHEMES:
            raise ValueError(f"{name!r} converts the model, so nothing can follow it; {names[position + 1]!r} does")
    if names[-1] not in SCHEMES:
        raise ValueError(f"the last step must be a conversion ({', '.join(SCHEMES)}), not {names[-1]!r}")
    _check_train_order(names[:-1])
    if "qat" in names:
        _check_after_qat(steps[-1])
    for step in steps:
        options = step.parsed()
        if isinstance(options, ClusterOptions) and options.clusters < 3 and "prune" in names:
            raise ValueError("'cluster' after 'prune' needs 3 clusters or more: one of them is the zero")


_UNDONE = {
    ("finetune", "prune"): "'finetune' after 'prune' would train the zeros away",
    ("finetune", "cluster"): "'finetune' after 'cluster' would train the shared values apart",
    ("prune", "cluster"): "'prune' after 'cluster' would break up the clusters",
}
"""Why a step cannot follow another, where it is not that nothing can follow `qat`."""


def _check_train_order(names: Sequence[str]) -> None:
    """Refuse train-aware steps that come twice or undo an earlier one."""
    order = list(TRAIN_STEPS)
    for position, name in enumerate(names):
        if name in names[:position]:
            raise ValueError(f"{name!r} comes twice; give it once, with the final options")
        for earlier in names[:position]:
            if order.index(earlier) > order.index(name):
                reason = _UNDONE.get((name, earlier), f"{name!r} cannot follow 'qat', which fixes the weights' ranges")
                raise ValueError(f"{reason}; the order is {', '.join(order)}")


def _check_after_qat(scheme: Step) -> None:
    """Quantization-aware training is training for int8, with a scale for each channel: no other scheme realises it."""
    if not scheme.scheme.realises_qat:
        fitting = " or ".join(repr(one.name) for one in SCHEMES.records() if one.realises_qat)
        raise ValueError(f"'qat' trains for 8-bit weights and activations: end with {fitting}, not {scheme.name!r}")
    if spoilt := scheme.parsed().spoils_qat():
        raise ValueError(spoilt)


def tflite_obstacle(steps: Sequence[Step], untrainable: str = "") -> str:
    """Why a recipe cannot work on a model that is a float `.tflite`; empty where nothing speaks against it.

    Args:
        steps: Of the recipe; the last is its scheme.
        untrainable: Why its layers cannot be rebuilt; empty where they can.
    """
    first = steps[0]
    if first.is_scheme:
        return first.scheme.tflite_obstacle(first.parsed())
    # What a train-aware step leaves is a Keras model, which every scheme takes.
    return f"{first.name} needs layers that can be trained: {untrainable}" if untrainable else ""
