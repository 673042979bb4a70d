"""How fast a test split is evaluated: as Litemill does it against a Python loop of single invocations on one thread.

    python -m benchmarks.evaluation [--rounds 9] [--json FILE]

Evaluates 10,000 Fashion-MNIST images both ways in turn on three CNNs, in int8 and in float32, and checks that every
output bit is the same. The loop gets its images in memory, Litemill reads them memory-mapped, and opens the file anew
each time. Of each way the fastest round counts, as `timeit` has it: other work on the machine only ever adds.

What can be gained depends on the model. The loop pays about 10 µs of Python for an image, which batches save, and
the kernels' own work, which nothing but more cores makes shorter: `at most` is the loop's time over that of the kernels
alone, in batches as Litemill has them, divided by the cores. The ideal is what one would reckon from a benchmark: the
time of an invocation of one image on one thread, times the images, divided by the cores. `--json` keeps the seconds of
every round. Exits 1 where an output differs, or where the int8 ratio of the model marked with * is under 5.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from examples.fashion_mnist.train import build as example
from litemill.artifacts.layout import TFLITE
from litemill.config.run import DataSpec, Limit, Preprocessing
from litemill.config.steps import Step
from litemill.convert.bundle import convert_bundle
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.evidence.sources import ModelManifest
from litemill.models.backend import make_deterministic, tf_keras
from litemill.models.store import save_model
from litemill.runtime import Runner

LEAST_RATIO = 5.0
IMAGES = 10_000
Outputs = NDArray[np.float32]


def small() -> Any:
    """As a microcontroller takes it: two strided convolutions and a dense layer."""
    keras = tf_keras()
    layers = keras.layers
    convolutions = [layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu") for filters in (8, 16)]
    return keras.Sequential([layers.Input((28, 28, 1)), *convolutions, layers.Flatten(), layers.Dense(10)])


def tutorial() -> Any:
    """The CNN of TensorFlow's tutorials on post-training quantization, pruning and clustering."""
    keras = tf_keras()
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(12, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


MODELS: dict[str, Callable[[], Any]] = {
    "two strided convolutions *": small,
    "TensorFlow's tutorials": tutorial,
    "examples/fashion_mnist": example,
}
HELD = "two strided convolutions *"


class Timing(NamedTuple):
    """Seconds of each way in every round, and whether both gave the same bits."""

    loop: list[float]
    runner: list[float]
    invocations: list[float]
    kernels: list[float]
    equal: bool


def main() -> int:
    """Convert, evaluate both ways, print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="how often each way is timed")
    parser.add_argument("--json", type=Path, help="write the seconds of every round of the model marked with * there")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    cores = len(os.sched_getaffinity(0))
    table = Table("CNN", "in", "parameters", "loop s", "Litemill s", "ratio", "at most", "outputs")
    table.title = f"{IMAGES:,} Fashion-MNIST images, {cores} cores, best of {options.rounds}"
    held, kept = True, {}
    with tempfile.TemporaryDirectory(prefix="litemill-") as folder:
        x = images(Path(folder))
        for number, (name, build) in enumerate(MODELS.items()):
            if options.json and name != HELD:
                continue
            parameters, paths = convert(build, Path(folder), str(number))
            for scheme, path in paths.items():
                found = measure(path, x, options.rounds)
                if name == HELD:
                    kept[scheme] = found._asdict()
                loop_s, runner_s, kernels_s = (min(one) for one in (found.loop, found.runner, found.kernels))
                ratio = loop_s / runner_s
                held &= found.equal and (name != HELD or scheme != "int8" or ratio >= LEAST_RATIO)
                cells = [f"{loop_s:.3f}", f"{runner_s:.3f}", f"{ratio:.1f}", f"{loop_s / (kernels_s / cores):.1f}"]
                table.add_row(name, scheme, f"{parameters:,}", *cells, "identical" if found.equal else "DIFFER")
    if options.json:
        options.json.write_text(json.dumps(kept))
        return 0
    console = Console()
    console.print(table)
    console.print(
        f"* at least {LEAST_RATIO:g} in int8, and identical outputs everywhere: {'held' if held else 'MISSED'}"
    )
    return 0 if held else 1


def images(work: Path) -> Any:
    """The test images, memory-mapped."""
    spec = DataSpec(
        kind="fashion_mnist", preprocessing=Preprocessing(scale=1 / 255), limit=Limit(train=1000, test=IMAGES)
    )
    prepare_data(spec, 0, work / "data")
    return Splits.open(work / "data").test.x


def convert(build: Callable[[], Any], work: Path, name: str) -> tuple[int, dict[str, Path]]:
    """Parameters of a model (untrained: time does not depend on it), and the model in int8 and in float32."""
    make_deterministic(0)
    model = build()
    save_model(model, ModelManifest(origin=name, origin_sha256=""), work / f"model-{name}")
    recipes = {scheme: [Step(name=scheme)] for scheme in ("int8", "float32")}
    for found in convert_bundle(work / f"model-{name}", recipes, work / f"out-{name}", dataset=work / "data"):
        if found.status != "ok":
            raise SystemExit(found.reason)
    return model.count_params(), {scheme: work / f"out-{name}" / scheme / TFLITE for scheme in recipes}


def measure(path: Path, x: Any, rounds: int) -> Timing:
    """Time both ways in turn, and the kernels alone."""
    in_memory, batch = np.array(x), Runner(path, threads=1).batch
    ways: dict[str, Callable[[], Any]] = {
        "loop": lambda: loop(path, in_memory),
        "runner": lambda: Runner(path).run(x),
        "invocations": lambda: kernels(path, len(x), 1),
        "kernels": lambda: kernels(path, len(x), batch),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    outputs: dict[str, Outputs] = {}
    for _ in range(rounds):
        for name, run in ways.items():
            started = time.perf_counter()
            outputs[name] = run()
            took[name].append(time.perf_counter() - started)
    return Timing(**took, equal=np.array_equal(outputs["loop"], outputs["runner"]))


def loop(path: Path, x: Any) -> Outputs:
    """As one would write it down: quantize a sample, set it, invoke, get the output, dequantize."""
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    (scale, zero_point), (out_scale, out_zero_point) = source["quantization"], sink["quantization"]
    outputs = []
    for sample in x:
        if scale:
            stored = np.clip(np.round(sample / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)
        else:
            stored = sample
        interpreter.set_tensor(source["index"], stored[np.newaxis])
        interpreter.invoke()
        output = interpreter.get_tensor(sink["index"])[0].astype(np.float32)
        outputs.append((output - np.float32(out_zero_point)) * np.float32(out_scale) if out_scale else output)
    return np.stack(outputs)


def kernels(path: Path, samples: int, batch: int) -> None:
    """The kernels alone on one thread: no input, no output, no Python between but the call."""
    interpreter = Interpreter(str(path), num_threads=1)
    source = interpreter.get_input_details()[0]
    interpreter.resize_tensor_input(source["index"], [batch, *source["shape"][1:]])
    interpreter.allocate_tensors()
    for _ in range(samples // batch):
        interpreter.invoke()


if __name__ == "__main__":
    sys.exit(main())
