"""Proof that a rewritten `.tflite` computes what the original does: structure, outputs bit by bit, other runtimes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.errors import StepFailed, first_line
from litemill.flatbuffer.reader import parse_model
from litemill.slim.rewrite import reduce
from litemill.slim.sharing import fingerprint

SAMPLES = 16
TFLM_SAMPLES = 4
TFLM_ARENA = 64 << 20
VELA_SECONDS = 300
IDENTICAL = "bit-identical"
"""How the outcome of a comparison begins that proves something."""

Array = NDArray[Any]
Outputs = list[bytes]


def prove_equal(before: bytes, after: bytes, keep: frozenset[str], samples: Array | None = None) -> dict[str, str]:
    """Compare a rewritten file with its original.

    Args:
        before: The original `.tflite`.
        after: The rewritten one.
        keep: What was to be kept of names, signatures and metadata.
        samples: Real inputs `[samples, …]` for a model with one input; seeded random ones otherwise.

    Returns:
        What was compared, and the outcome in words.

    Raises:
        StepFailed: Something differs, or a runtime that takes the original refuses the rewritten file.
    """
    structures = [parse_model(data, where="file to compare") for data in (before, after)]
    for model in structures:
        reduce(model, keep)
    if fingerprint(structures[0]) != fingerprint(structures[1]):
        raise StepFailed("the structure changed")
    checks = {"structure": "equal"}
    for name, run in (("xnnpack", _litert("AUTO")), ("reference", _litert("BUILTIN_REF"))):
        checks[name] = _compare(name, run, before, after, samples)
    return checks


def prove_tflm(before: bytes, after: bytes, samples: Array | None = None) -> str:
    """Compare both files in TFLM, where it is installed and takes the original.

    Raises:
        StepFailed: TFLM takes the original, and refuses the rewritten file or computes something else.
    """
    if find_spec("tflite_micro") is None:
        return "not compared: tflite-micro is not installed"
    return _compare("tflm", _tflm, before, after, samples)


def prove_vela(before: bytes, after: bytes) -> str:
    """Compile both files with Vela for an Ethos-U55, where it is installed and takes the original.

    Raises:
        StepFailed: Vela takes the original and refuses the rewritten file.
    """
    if find_spec("ethosu") is None:
        return "not compared: vela is not installed"
    if not _vela_takes(before):
        return "the original is not taken"
    if not _vela_takes(after):
        raise StepFailed("Vela takes the original and refuses the rewritten file")
    return "taken as the original is"


def _compare(
    name: str, run: Callable[[bytes, Array | None], Outputs], before: bytes, after: bytes, samples: Array | None
) -> str:
    """Run both files; a runtime that refuses the original proves nothing."""
    try:
        expected = run(before, samples)
    except (RuntimeError, ValueError) as error:
        first = first_line(error)
        return f"the original is not taken: {first[:120]}"
    try:
        found = run(after, samples)
    except (RuntimeError, ValueError) as error:
        raise StepFailed(f"{name} takes the original and refuses the rewritten file: {error}") from None
    if found != expected:
        raise StepFailed(f"{name}: outputs differ from the original's")
    return f"{IDENTICAL} on {len(expected)} samples"


def _litert(resolver: str) -> Callable[[bytes, Array | None], Outputs]:
    """Run a file in LiteRT with one set of kernels; the raw bytes of all outputs for each sample."""

    def run(data: bytes, samples: Array | None) -> Outputs:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        interpreter = Interpreter(
            model_content=data, experimental_op_resolver_type=OpResolverType[resolver], num_threads=1
        )
        interpreter.allocate_tensors()
        details = interpreter.get_input_details()
        outputs = []
        for index in range(SAMPLES):
            for value, detail in zip(_inputs(details, samples, index), details, strict=True):
                interpreter.set_tensor(detail["index"], value)
            interpreter.invoke()
            found = [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
            outputs.append(b"".join(array.tobytes() for array in found))
        return outputs

    return run


def _tflm(data: bytes, samples: Array | None) -> Outputs:
    """Run a file in TFLM."""
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(data, arena_size=TFLM_ARENA)
    model = parse_model(data, where="file to compare").subgraphs[0]
    details = [interpreter.get_input_details(index) for index in range(len(model.inputs))]
    outputs = []
    for index in range(TFLM_SAMPLES):
        interpreter.reset()
        for position, value in enumerate(_inputs(details, samples, index)):
            interpreter.set_input(value, position)
        interpreter.invoke()
        outputs.append(b"".join(interpreter.get_output(position).tobytes() for position in range(len(model.outputs))))
    return outputs


def _inputs(details: list[dict[str, Any]], samples: Array | None, index: int) -> list[Array]:
    """One set of inputs: a real sample where it fits, else numbers over the range of each dtype."""
    from litemill.runtime.quantization import quantize

    if samples is not None and len(samples) and len(details) == 1:
        sample = np.asarray(samples[index % len(samples)])[np.newaxis]
        if list(sample.shape) == [int(size) for size in details[0]["shape"]]:
            return [quantize(sample, _with_pair(details[0]))]
    rng = np.random.default_rng(index)
    return [_random(rng, np.dtype(detail["dtype"]), [int(size) for size in detail["shape"]]) for detail in details]


def _with_pair(detail: dict[str, Any]) -> dict[str, Any]:
    """A tensor's details with its quantization as one pair, which TFLM gives as lists of parameters."""
    if "quantization" in detail:
        return detail
    parameters = detail["quantization_parameters"]
    scales, zero_points = parameters["scales"], parameters["zero_points"]
    return {**detail, "quantization": (float(scales[0]), int(zero_points[0])) if len(scales) else (0.0, 0)}


def _random(rng: np.random.Generator, dtype: Any, shape: list[int]) -> Array:
    if dtype == np.bool_:
        return rng.random(shape) < 0.5
    if np.issubdtype(dtype, np.floating):
        return rng.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    if limits.bits > 16:  # may be the index of something: others fall out of its table
        return rng.integers(0, 2, shape).astype(dtype)
    return rng.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)


def _vela_takes(data: bytes) -> bool:
    with tempfile.TemporaryDirectory(prefix="litemill-") as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(data)
        command = [sys.executable, "-P", "-m", "ethosu.vela", str(path)]
        command += ["--accelerator-config", "ethos-u55-128", "--output-dir", folder]
        done = subprocess.run(command, capture_output=True, check=False, timeout=VELA_SECONDS)
        return done.returncode == 0 and any(Path(folder).glob("*_vela.tflite"))
