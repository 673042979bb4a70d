"""Proof that a rewritten `.tflite` computes what the original does: structure, outputs bit by bit, other runtimes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.inputs import joined
from litemill.errors import StepFailed, first_line
from litemill.flatbuffer.graph import tensor_info
from litemill.flatbuffer.reader import NUMPY_DTYPES, ints, parse_model
from litemill.runtime.micro import load
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


def prove_tflm(before: bytes, after: bytes, samples: Array | None = None, count: int = TFLM_SAMPLES) -> str:
    """Compare both files in TFLM on `count` samples, where it is installed and takes the original.

    Raises:
        StepFailed: TFLM takes the original, and refuses the rewritten file or computes something else.
    """
    if find_spec("tflite_micro") is None:
        return "not compared: tflite-micro is not installed"
    return _compare("tflm", partial(_tflm, count=count), before, after, samples)


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


def _tflm(data: bytes, samples: Array | None, count: int) -> Outputs:
    """Run a file in TFLM."""
    interpreter = load(data, TFLM_ARENA)
    model = parse_model(data, where="file to compare").subgraphs[0]
    details, outputs = _tflm_details(model), []
    for index in range(count):
        interpreter.reset()
        for position, value in enumerate(_inputs(details, samples, index)):
            interpreter.set_input(value, position)
        interpreter.invoke()
        outputs.append(b"".join(interpreter.get_output(position).tobytes() for position in range(len(model.outputs))))
    return outputs


def tflm_inputs(data: bytes, samples: Array | None = None) -> Array:
    """One raw sample that a file takes, as `litemill.runtime.micro` runs it: of several inputs a structured array.

    Args:
        data: A `.tflite`.
        samples: Real inputs `[samples, …]` for a model with one input; seeded random ones otherwise.

    Raises:
        InputError: It is no `.tflite` or damaged.
        StepFailed: An input has a type that numpy does not have.
    """
    parts = _inputs(_tflm_details(parse_model(data, where="the file").subgraphs[0]), samples, 0)
    return parts[0] if len(parts) == 1 else joined({str(position): part for position, part in enumerate(parts)})


def _tflm_details(graph: Any) -> list[dict[str, Any]]:
    """Shape, dtype and quantization of each input, as LiteRT's interpreter tells them."""
    found = []
    for index in ints(graph.inputs):
        info = tensor_info(graph.tensors[index])
        if info.dtype not in NUMPY_DTYPES:
            raise StepFailed(f"an input of type {info.dtype}")
        dtype, pair = NUMPY_DTYPES[info.dtype], (info.scale, info.zero_point)
        found.append({"shape": ints(graph.tensors[index].shape), "dtype": dtype.type, "quantization": pair})
    return found


def _inputs(details: list[dict[str, Any]], samples: Array | None, index: int) -> list[Array]:
    """One set of inputs: a real sample where it fits, else numbers over the range of each dtype."""
    from litemill.runtime.quantization import quantize

    if samples is not None and len(samples) and len(details) == 1:
        sample = np.asarray(samples[index % len(samples)])[np.newaxis]
        if list(sample.shape) == [int(size) for size in details[0]["shape"]]:
            return [quantize(sample, details[0])]
    rng = np.random.default_rng(index)
    return [_random(rng, np.dtype(detail["dtype"]), [int(size) for size in detail["shape"]]) for detail in details]


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
