"""Options of the conversion schemes: what each takes, and what is refused before anything is converted."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from litemill.config.base import Address, Section
from litemill.config.recipe_file import MOST_CHARACTERS, checked, read_recipe


class Options(Section):
    """Options of a step: unknown keys are refused, defaults are what most users want."""

    def spoils_qat(self) -> str:
        """What an option would undo of quantization-aware training, and what to do; empty where nothing does."""
        return ""

    def carried(self, written: dict[str, Any]) -> dict[str, Any]:
        """The options as they travel to where they are used, which has none of the user's files."""
        return written


class NoOptions(Options):
    """A scheme without options."""


class SelectiveOptions(Options):
    """Which layers are quantized: by layer name or op type, with `*` and `?` as wildcards."""

    include: list[str] = Field(default_factory=list, description="quantize these layers only, by name or op type")
    exclude: list[str] = Field(default_factory=list, description="leave these layers in float, by name or op type")
    recipe_file: Address = Field("", description="JSON file of litert-quantizer's own rules, in place of all others")
    recipe: str = Field("", max_length=MOST_CHARACTERS, description="what is in that file; filled in when it is read")

    @model_validator(mode="after")
    def _read(self) -> SelectiveOptions:
        if not self.recipe_file:
            if self.recipe:
                raise ValueError("recipe is filled in from recipe_file: give that")
            return self
        others = sorted(self.model_fields_set - {"recipe_file", "recipe", "io"})
        if others:
            raise ValueError(f"recipe_file says it all: leave {', '.join(others)} out")
        text = checked(self.recipe) if self.recipe else read_recipe(self.recipe_file)
        object.__setattr__(self, "recipe", text)
        return self

    def carried(self, written: dict[str, Any]) -> dict[str, Any]:
        """See `Options.carried`: the rules go along, so that the cache knows them too."""
        return {**written, "recipe": self.recipe} if self.recipe else written

    @property
    def selects(self) -> bool:
        """Whether some layers are chosen: litert-quantizer then makes the file, which can leave single ops alone."""
        return bool(self.include or self.exclude or self.recipe)

    @property
    def by_quantizer(self) -> bool:
        """Whether litert-quantizer makes the file."""
        return self.selects

    def spoils_qat(self) -> str:
        """See `Options.spoils_qat`."""
        return "'qat' trains what is quantized: name the layers in its own 'exclude'" if self.selects else ""


NOT_OFFERED = {
    "gptq": "litert-quantizer's is right for dense layers alone, and wrong where the ops around them are quantized too",
    "hadamard": "rotations need an op that no other runtime has, or make the file larger than float32",
    "oscar": "without second moments of the activations it is octav",
}
"""Algorithms of litert-quantizer's that are no option, and why."""
BLOCKS = {"block32": 32, "block64": 64, "block128": 128, "block256": 256}
"""Weights that share a scale, in the direction in which they are summed."""


def _algorithm(value: Any) -> Any:
    """Refuse by name what is no option, with the way out."""
    if isinstance(value, str) and value in NOT_OFFERED:
        raise ValueError(f"{value} is not offered: {NOT_OFFERED[value]}; use octav, or bring a recipe_file")
    return value


class WeightsOptions(SelectiveOptions):
    """How weights are rounded that are unpacked at load."""

    algorithm: Literal["min_max", "octav", "mse"] = Field(
        "min_max",
        description="how a weight's scale is found: by its largest value, or by the least error",
    )
    granularity: Literal["channel", "tensor"] = Field("channel", description="one scale for each channel, or for all")

    @field_validator("algorithm", mode="before")
    @classmethod
    def _known_algorithm(cls, value: Any) -> Any:
        return _algorithm(value)

    @field_validator("granularity", mode="before")
    @classmethod
    def _known_granularity(cls, value: Any) -> Any:
        if value in BLOCKS and not issubclass(cls, DynamicOptions):
            what = "litert-quantizer leaves weights alone in blocks float without a word"
            raise ValueError(f"{value} is not offered here: {what}; use dynamic: {{bits: 4, granularity: {value}}}")
        return value

    @property
    def by_quantizer(self) -> bool:
        """See `SelectiveOptions.by_quantizer`: for all but the defaults."""
        return bool(self.model_dump(exclude_defaults=True))


class DynamicOptions(WeightsOptions):
    """How weights are rounded that ops compute with, activations rounded at run time."""

    bits: int = Field(8, ge=4, le=8, description="of the weights: 8, or 4 where the op can (convolutions, dense)")
    granularity: Literal["channel", "tensor", "block32", "block64", "block128", "block256"] = Field(  # type: ignore[assignment]
        "channel", description="one scale for each channel, for all, or for each block of weights of a dense layer"
    )

    @model_validator(mode="after")
    def _blocks_of_four(self) -> DynamicOptions:
        if self.bits not in (4, 8):
            raise ValueError(f"bits are 4 or 8, not {self.bits}")
        if self.granularity in BLOCKS and self.bits != 4:
            raise ValueError(f"{self.granularity} is for weights of 4 bits: add bits: 4")
        if self.granularity in BLOCKS and self.algorithm == "mse":
            raise ValueError("mse knows no blocks: use min_max or octav")
        return self

    @property
    def blocks(self) -> bool:
        """Whether weights have a scale for each block."""
        return self.granularity in BLOCKS


class StaticOptions(SelectiveOptions):
    """How weights are rounded beside activations whose ranges calibration samples show."""

    algorithm: Literal["min_max", "octav", "mse"] = Field(
        "min_max",
        description="how a weight's scale is found: by its largest value, or by the least error",
    )

    @field_validator("algorithm", mode="before")
    @classmethod
    def _known_algorithm(cls, value: Any) -> Any:
        return _algorithm(value)

    @property
    def by_quantizer(self) -> bool:
        """See `SelectiveOptions.by_quantizer`."""
        return self.selects or self.algorithm != "min_max"

    def spoils_qat(self) -> str:
        """See `Options.spoils_qat`."""
        if self.algorithm != "min_max":
            return "'qat' trains the weights' scales: leave 'algorithm' out"
        return super().spoils_qat()


class Int8Options(StaticOptions):
    """Full-integer quantization with a representative dataset."""

    io: Literal["int8", "uint8", "float32"] = Field("int8", description="dtype of the model's inputs and outputs")
    per_channel: bool = Field(True, description="one scale for each output channel of a weight, else one for all")

    @model_validator(mode="after")
    def _whole_model(self) -> Int8Options:
        if self.by_quantizer and self.io == "uint8":
            raise ValueError("io: uint8 takes no include and no exclude, algorithm or recipe_file: use io int8")
        return self

    def spoils_qat(self) -> str:
        """See `Options.spoils_qat`."""
        if self.per_channel:
            return super().spoils_qat()
        return "'qat' trains one scale for each channel: leave 'per_channel: false' out of int8"


class Int16x8Options(StaticOptions):
    """int16 activations with int8 weights: closer to float, slower where no kernel is delegated."""

    io: Literal["int16", "float32"] = Field("int16", description="dtype of the model's inputs and outputs")


class MixedInt8Options(Options):
    """int8 with the layers that lose most by it left in float, found by quantizing each alone. Inputs are float32."""

    exclude: list[str] = Field(
        default_factory=list, description="leave these layers in float in any case, by name or op type"
    )
    max_size: float = Field(1.3, gt=1.0, le=4.0, description="times the size of the int8 file it may grow to")
    sqnr_db: float = Field(20.0, gt=0.0, description="signal to quantization noise of the outputs that is enough")
