"""How fast a test split is evaluated: batches on all cores against a Python loop of single invocations on one thread.

    python -m benchmarks.evaluation [--rounds 3]

Evaluates 10,000 Fashion-MNIST images on the example's int8 CNN both ways in turn, checks that every output bit is the
same, and prints the ratio of the medians. Exits 1 where it is under 5, or where an output differs.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from examples.fashion_mnist.train import build
from litemill.convert import convert_bundle
from litemill.data import Splits, prepare_data
from litemill.evaluate import Runner
from litemill.evidence import ModelManifest
from litemill.layout import TFLITE
from litemill.models import save_model
from litemill.models.backend import make_deterministic
from litemill.spec import DataSpec, Limit, Preprocessing
from litemill.steps import Step

LEAST_RATIO = 5.0
IMAGES = 10_000


def main() -> int:
    """Convert, evaluate both ways, print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is timed")
    rounds: int = parser.parse_args().rounds
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="litemill-") as folder:
        x, path = prepare(Path(folder))
        seconds: dict[str, list[float]] = {"loop": [], "batched": []}
        outputs: dict[str, NDArray[np.float32]] = {}
        for _ in range(rounds):
            for name, run in (("loop", loop), ("batched", batched)):
                started = time.perf_counter()
                outputs[name] = run(path, x)
                seconds[name].append(time.perf_counter() - started)
    equal = np.array_equal(outputs["loop"], outputs["batched"])
    slow, fast = (float(np.median(seconds[name])) for name in ("loop", "batched"))
    console = Console()
    console.print(f"{len(x):,} images: {slow:.2f} s one by one on one thread, {fast:.2f} s by litemill.evaluate.Runner")
    console.print(f"ratio {slow / fast:.1f} (at least {LEAST_RATIO:g}), outputs {'identical' if equal else 'DIFFER'}")
    return 0 if equal and slow / fast >= LEAST_RATIO else 1


def prepare(work: Path) -> tuple[Any, Path]:
    """The test images, memory-mapped, and the example's CNN (untrained: time does not depend on it) in int8."""
    spec = DataSpec(
        kind="fashion_mnist", preprocessing=Preprocessing(scale=1 / 255), limit=Limit(train=1000, test=IMAGES)
    )
    prepare_data(spec, 0, work / "data")
    make_deterministic(0)
    save_model(build(), ModelManifest(origin="examples/fashion_mnist", origin_sha256=""), work / "model")
    recipes = {"int8": [Step(name="int8")]}
    (found,) = convert_bundle(work / "model", recipes, work / "out", dataset=work / "data")
    if found.status != "ok":
        raise SystemExit(found.reason)
    return Splits.open(work / "data").test.x, work / "out" / "int8" / TFLITE


def batched(path: Path, x: Any) -> NDArray[np.float32]:
    """As Litemill evaluates."""
    return Runner(path).run(x)


def loop(path: Path, x: Any) -> NDArray[np.float32]:
    """As one would write it down: quantize a sample, set it, invoke, get the output, dequantize."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    (scale, zero_point), (out_scale, out_zero_point) = source["quantization"], sink["quantization"]
    outputs = []
    for sample in x:
        stored = np.clip(np.round(sample / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)
        interpreter.set_tensor(source["index"], stored[np.newaxis])
        interpreter.invoke()
        output = interpreter.get_tensor(sink["index"])[0].astype(np.float32)
        outputs.append((output - np.float32(out_zero_point)) * np.float32(out_scale))
    return np.stack(outputs)


if __name__ == "__main__":
    sys.exit(main())
