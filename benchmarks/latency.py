"""Does the benchmark tell equal from slower? `python -m benchmarks.latency`, part of `make bench`.

Measures a model against itself (A/A: the interval of the ratio should hold 1.0 in 95 of 100 sessions) and against
itself with one more layer (it must be called slower), in sessions as `litemill benchmark` runs them. Writes
`benchmarks/latency.json` and ends with 1 when a statement does not hold.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from litemill.benchmark import benchmark_files
from litemill.cli import console
from litemill.config.targets import parse_target
from litemill.evidence.outcome import Measurement
from litemill.models.backend import tensorflow, tf_keras

SESSIONS = 8
HOLD = 6
"""A/A sessions whose interval must hold 1.0: fewer of 8 happen once in 5,000 times where 95 % are right."""
LAST = Path(__file__).with_suffix(".json")


def build(folder: Path, extra: bool) -> Path:
    """A small float32 CNN, with one more convolution where asked."""
    keras = tf_keras()
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(16, 3, padding="same", activation="relu") for _ in range(4 + extra)]
    model = keras.Sequential([keras.layers.Input((32, 32, 3)), *layers, keras.layers.GlobalAveragePooling2D()])
    content = tensorflow().lite.TFLiteConverter.from_keras_model(model).convert()
    path = folder / ("slower.tflite" if extra else "model.tflite")
    path.write_bytes(content)
    return path


def main() -> int:
    """Run the sessions and tell what held."""
    target = parse_target("host")
    with tempfile.TemporaryDirectory() as name:
        model, slower = build(Path(name), extra=False), build(Path(name), extra=True)
        counterpart = Path(name) / "twin.tflite"
        # the same model under another digest: what stands behind a flatbuffer is not read
        counterpart.write_bytes(model.read_bytes() + b"\0" * 16)
        sessions = [benchmark_files(target, [model, counterpart, slower]) for _ in range(SESSIONS)]
    counterparts, slowers = ([_row(session[at]) for session in sessions] for at in (1, 2))
    held = sum(row["ci"][0] <= 1.0 <= row["ci"][1] for row in counterparts)
    found = sum(row["comparison"] == "slower" for row in slowers)
    width = float(np.median([row["ci"][1] - row["ci"][0] for row in counterparts]))
    LAST.write_text(
        json.dumps(
            {"sessions": SESSIONS, "aa_held": held, "aa_median_width": round(width, 4), "slower_found": found}
            | {"twins": counterparts, "slower": slowers, "device": sessions[0][0].device},
            indent=2,
        )
        + "\n"
    )
    console.out.print(f"A/A: {held} of {SESSIONS} intervals hold 1.0 (median width {width:.3f}; {HOLD} must)")
    console.out.print(f"one layer more: called slower in {found} of {SESSIONS} (all must)")
    return 0 if held >= HOLD and found == SESSIONS else 1


def _row(one: Measurement) -> dict[str, Any]:
    ratio = one.ratio_to_float32
    if ratio is None:
        raise SystemExit(f"{one.recipe}: {one.reason}")
    bounds = [round(bound, 4) for bound in ratio.ci]
    return {"ratio": round(ratio.value, 4), "ci": bounds, "comparison": one.comparison, "p50": one.latency_ms["p50"]}


if __name__ == "__main__":
    sys.exit(main())
