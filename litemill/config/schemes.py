"""Conversion schemes: one record each with all that is known about it. The last step of a recipe names one.

Another package adds a scheme by an entry point of the group `litemill.schemes` that names a `Scheme`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from litemill.config.scheme_options import BLOCKS as BLOCKS
from litemill.config.scheme_options import DynamicOptions as DynamicOptions
from litemill.config.scheme_options import Int8Options as Int8Options
from litemill.config.scheme_options import Int16x8Options as Int16x8Options
from litemill.config.scheme_options import MixedInt8Options as MixedInt8Options
from litemill.config.scheme_options import NoOptions as NoOptions
from litemill.config.scheme_options import Options as Options
from litemill.config.scheme_options import SelectiveOptions as SelectiveOptions
from litemill.config.scheme_options import WeightsOptions as WeightsOptions
from litemill.plugins import Registry

QUANTIZER_OPTIONS = frozenset({"include", "exclude", "algorithm", "granularity", "bits", "recipe_file", "recipe"})
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
        _ours("dynamic", "dynamic range: int8 weights, float activations, no calibration data", options=DynamicOptions),
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
