"""The vocabulary of recipes: the steps there are, their options, and the orders that can work.

A recipe is a list of train-aware steps that ends in one conversion scheme. Everything else in Litemill looks
a step up here: the run config, the plan, the components and the documentation.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class Options(BaseModel):
    """Options of a step: unknown keys are refused, defaults are what most users want."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Float32Options(Options):
    """Plain conversion: weights and activations stay float32."""


class Float16Options(Options):
    """Weights are stored as float16 and unpacked at load: half the size, float32 speed."""


class DynamicOptions(Options):
    """Dynamic-range quantization: int8 weights, float activations, no calibration data."""


class Int8Options(Options):
    """Full-integer quantization with a representative dataset."""

    io: Literal["int8", "uint8", "float32"] = Field("int8", description="dtype of the model's inputs and outputs")
    per_channel: bool = Field(True, description="one scale for each output channel of a weight, else one for all")


class Int16x8Options(Options):
    """int16 activations with int8 weights: closer to float, slower where no kernel is delegated."""


SCHEMES: dict[str, type[Options]] = {
    "float32": Float32Options,
    "float16": Float16Options,
    "dynamic": DynamicOptions,
    "int8": Int8Options,
    "int16x8": Int16x8Options,
}
"""Conversion schemes by name. The last step of a recipe is one of them."""

CALIBRATED = frozenset({"int8", "int16x8"})
"""Schemes that need the calibration split; `int8_convert` makes these, `ptq` the others."""

TRAIN_STEPS: dict[str, type[Options]] = {}
"""Train-aware steps by name."""

STEPS: dict[str, type[Options]] = TRAIN_STEPS | SCHEMES


class Step(BaseModel):
    """One step of a recipe: its name and its validated options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _options_fit(self) -> Step:
        try:
            self.parsed()
        except ValidationError as error:
            raise ValueError(f"step {self.name!r}: {_one_line(error, STEPS[self.name])}") from None
        return self

    @property
    def is_scheme(self) -> bool:
        """Whether this step is a conversion."""
        return self.name in SCHEMES

    def parsed(self) -> Options:
        """The options as their typed model, defaults filled in."""
        return STEPS[self.name].model_validate(self.options)


def _one_line(error: ValidationError, options: type[Options]) -> str:
    """Say the first thing wrong with a step's options, with the nearest valid spelling for an unknown one."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = list(options.model_fields)
        return f"unknown option {key!r}; {nearest(key, known) if known else 'it takes none'}"
    return f"{key}: {first['msg'].removeprefix('Value error, ')}"


def nearest(name: str, known: Sequence[str]) -> str:
    """Return ` (did you mean …?)` for the known name closest to `name`, or the list of what there is."""
    close = difflib.get_close_matches(str(name), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def parse_step(written: Step | str | dict[str, Any]) -> Step:
    """Turn what a user wrote (`int8` or `{prune: {sparsity: 0.5}}`) into a step.

    Raises:
        ValueError: The step is unknown or not of that form (pydantic reports it with its place).
    """
    if isinstance(written, Step):
        return written
    if isinstance(written, str):
        name, options = written, dict[str, Any]()
    elif isinstance(written, dict) and len(written) == 1:
        name, options = next(iter(written.items()))
        options = {} if options is None else options
    else:
        raise ValueError(f"a step is a name or one name with its options, not {written!r}")
    if name not in STEPS:
        raise ValueError(f"unknown step {name!r}; {nearest(name, list(STEPS))}")
    if not isinstance(options, dict):
        raise ValueError(f"options of step {name!r} are a mapping, not {options!r}")
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
