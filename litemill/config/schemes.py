"""Conversion schemes: one record each with all that is known about it. The last step of a recipe names one.

Another package adds a scheme by an entry point of the group `litemill.schemes` that names a `Scheme`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field, model_validator

from litemill.config.base import Section
from litemill.plugins import Registry


class Options(Section):
    """Options of a step: unknown keys are refused, defaults are what most users want."""

    def spoils_qat(self) -> str:
        """What an option would undo of quantization-aware training, and what to do; empty where nothing does."""
        return ""


class NoOptions(Options):
    """A scheme without options."""


class SelectiveOptions(Options):
    """Which layers are quantized: by layer name or op type, with `*` and `?` as wildcards."""

    include: list[str] = Field(default_factory=list, description="quantize these layers only, by name or op type")
    exclude: list[str] = Field(default_factory=list, description="leave these layers in float, by name or op type")

    @property
    def selects(self) -> bool:
        """Whether some layers are chosen: litert-quantizer then makes the file, which can leave single ops alone."""
        return bool(self.include or self.exclude)

    def spoils_qat(self) -> str:
        """See `Options.spoils_qat`."""
        return "'qat' trains what is quantized: name the layers in its own 'exclude'" if self.selects else ""


class WeightsOptions(SelectiveOptions):
    """How weights are rounded that are unpacked at load or at run time."""

    algorithm: Literal["min_max", "octav", "mse"] = Field(
        "min_max",
        description="how a weight's scale is found: by its largest value, or by the least error",
    )
    granularity: Literal["channel", "tensor"] = Field("channel", description="one scale for each channel, or for all")


class Int8Options(SelectiveOptions):
    """Full-integer quantization with a representative dataset."""

    io: Literal["int8", "uint8", "float32"] = Field("int8", description="dtype of the model's inputs and outputs")
    per_channel: bool = Field(True, description="one scale for each output channel of a weight, else one for all")

    @model_validator(mode="after")
    def _whole_model(self) -> Int8Options:
        if self.selects and self.io == "uint8":
            raise ValueError("io: uint8 takes no include and no exclude: use io int8 or float32")
        return self

    def spoils_qat(self) -> str:
        """See `Options.spoils_qat`."""
        if self.per_channel:
            return super().spoils_qat()
        return "'qat' trains one scale for each channel: leave 'per_channel: false' out of int8"


class Int16x8Options(SelectiveOptions):
    """int16 activations with int8 weights: closer to float, slower where no kernel is delegated."""

    io: Literal["int16", "float32"] = Field("int16", description="dtype of the model's inputs and outputs")


class MixedInt8Options(Options):
    """int8 with the layers that lose most by it left in float, found by quantizing each alone. Inputs are float32."""

    exclude: list[str] = Field(
        default_factory=list, description="leave these layers in float in any case, by name or op type"
    )
    max_size: float = Field(1.3, gt=1.0, le=4.0, description="times the size of the int8 file it may grow to")
    sqnr_db: float = Field(20.0, gt=0.0, description="signal to quantization noise of the outputs that is enough")


QUANTIZER_OPTIONS = frozenset({"include", "exclude", "algorithm", "granularity"})
"""Options that are litert-quantizer's own, so that a `.tflite` can have them too."""


@dataclass(frozen=True)
class Scheme:
    """A conversion scheme.

    Code is named as `package.module:function` and called with the source's path, the options and the calibration
    samples `[samples, …]` float32 (none for a scheme that does not calibrate); it returns a
    `litemill.convert.findings.Converted`. It runs in a process of its own.

    Attributes:
        name: What a recipe calls it.
        summary: What it does, for the reader.
        from_saved_model: What makes the `.tflite` of a SavedModel whose signature `serving_default` has batch 1.
        from_tflite: What makes it of a float `.tflite`; empty where nothing does.
        options: The model of its options. One named `io` is the dtype of the file's inputs and outputs, else float32.
        tflite_options: What `from_tflite` takes: values by option. Any other has to keep its default.
        calibrated: Whether it needs the calibration split; `int8_convert` makes these, `ptq` the others.
        realises_qat: Whether the file computes as quantization-aware training simulated it.
        exact: Whether it keeps every weight and activation as it is, so that there is nothing to compare with float32.
        searches: Whether it looks at the outputs to decide: it then also gets `output` (the name of the one that is
            judged, or an empty string) and `by_column` (whether the worst column counts).
        ranks_layers: Whether each layer can be compared with float32 alone, so that the worst can be named.
        remedy: What to try where the outputs collapse.
    """

    name: str
    summary: str
    from_saved_model: str
    from_tflite: str = ""
    options: type[Options] = NoOptions
    tflite_options: Mapping[str, tuple[Any, ...]] = field(default_factory=dict, hash=False)
    calibrated: bool = False
    realises_qat: bool = False
    exact: bool = False
    searches: bool = False
    ranks_layers: bool = False
    remedy: str = "another scheme, or qat"

    def tflite_obstacle(self, options: Options) -> str:
        """Why this cannot be made of a float `.tflite`; empty where nothing speaks against it."""
        reason = "needs a Keras model or a SavedModel: litert-quantizer does not make it from a .tflite"
        if not self.from_tflite:
            return f"{self.name} {reason}"
        for name, value in options.model_dump(exclude_defaults=True).items():
            if name not in QUANTIZER_OPTIONS and value not in self.tflite_options.get(name, ()):
                return f"{self.name} with {name}: {value} {reason}"
        return ""


FROM_SAVED_MODEL = "litemill.convert.from_saved_model"
FROM_TFLITE = "litemill.convert.from_tflite"


def _ours(name: str, summary: str, function: str = "", *, tflite: bool = True, **more: Any) -> Scheme:
    """A scheme of Litemill's own: both sources have a function of the same name."""
    function = function or name
    from_tflite = f"{FROM_TFLITE}:{function}" if tflite else ""
    return Scheme(name, summary, f"{FROM_SAVED_MODEL}:{function}", from_tflite, **more)


SCHEMES = Registry(
    "scheme",
    "litemill.schemes",
    Scheme,
    [
        _ours("float32", "plain conversion: weights and activations stay float32", exact=True),
        _ours(
            "float16",
            "weights stored as float16 and unpacked at load: half the size, float32 speed",
            options=SelectiveOptions,
        ),
        _ours("dynamic", "dynamic range: int8 weights, float activations, no calibration data", options=WeightsOptions),
        _ours(
            "int8",
            "full-integer quantization with a representative dataset",
            options=Int8Options,
            tflite_options={"io": ("int8", "float32"), "per_channel": (True, False)},
            calibrated=True,
            realises_qat=True,
            ranks_layers=True,
            remedy="mixed-int8, int16x8 or qat",
        ),
        _ours(
            "int16x8",
            "int16 activations with int8 weights: closer to float, slower where no kernel is delegated",
            options=Int16x8Options,
            tflite_options={"io": ("int16", "float32")},
            calibrated=True,
        ),
        _ours(
            "mixed-int8",
            "int8 with the layers that lose most by it left in float, found by quantizing each alone",
            "mixed_int8",
            tflite=False,
            options=MixedInt8Options,
            calibrated=True,
            searches=True,
        ),
        _ours(
            "weights-int8",
            "weights alone in int8, unpacked at load: a quarter of the size at float32's speed",
            "weights_int8",
            options=WeightsOptions,
        ),
        _ours(
            "weights-int4",
            "weights alone in int4 where the op can have it (convolutions, dense)",
            "weights_int4",
            options=WeightsOptions,
        ),
    ],
)
"""Conversion schemes by name."""

FLOAT32 = SCHEMES["float32"]
