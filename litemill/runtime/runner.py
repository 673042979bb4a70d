"""Run a `.tflite` in LiteRT over many samples: batched, on all cores, with results identical to batch 1."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.inputs import joined, named, sample_shapes
from litemill.config.data_kinds import Kernels
from litemill.errors import InputError, first_line
from litemill.runtime.quantization import dequantize, quantize, random_values
from litemill.tasks.joined import joined_shape, parts_of, side_by_side

log = logging.getLogger(__name__)

MAX_BATCH = 64
BATCH_ELEMENTS = 1 << 16
"""Input elements of one invocation: more would not make it faster, but push activations out of a core's cache."""
COPIES_BYTES = 512 << 20
"""Most that the cores' own copies of the weights may take together."""
PROVED_SAMPLES = 4
"""Samples whose answers in a batch are compared with those they get alone, before a batch is trusted."""
APART = 1e-3
"""Difference of one sample's answer that is allowed, relative to how far the samples' answers lie apart: relative to
the spread over classes, that all samples get the same answer would pass for rounding."""
ROUNDING = 1e-5
"""The same, relative to the largest answer: what float32 sums in another order differ by."""


BYTES = (1.0, 0)
"""Quantization of an input of bytes that stand for their own values."""


class Runner:
    """A `.tflite`, opened once for each core that computes.

    Every core has an interpreter of its own, on one thread, and takes the next batch when it is done with one:
    threads that share an interpreter wait for each other after every operator, which costs small models half their
    speed and on a busy machine more. Only a file of which there cannot be a copy for each core runs on threads inside.

    Args:
        path: The file.
        batch: Samples in one invocation, by default what suits the size of a sample: then the first answers of a batch
            are compared with those that the samples get alone. A model that cannot be resized, or that mixes the
            samples of a batch, runs one by one; see the attribute `batch`.
        threads: Cores to compute on; all by default.
        kernels: Which kernels compute.
        output: Name in the signature of the output that `run` returns, of a model with several; the first by default.
            Several names with + between them are run side by side (see `litemill.tasks.joined`).

    Raises:
        InputError: LiteRT cannot open the file, or it has no such output.
    """

    def __init__(
        self,
        path: Path,
        *,
        batch: int | None = None,
        threads: int | None = None,
        kernels: Kernels = "xnnpack",
        output: str = "",
    ) -> None:
        self.path, self.kernels, self._asked, self._proved = Path(path), kernels, output, batch is not None
        cores = threads or len(os.sched_getaffinity(0))
        try:
            copies = COPIES_BYTES // max(self.path.stat().st_size, 1)
            self._workers = max(1, min(cores, copies))
            self._threads = cores // self._workers
            self._opened = [self._open(batch)]
        except (RuntimeError, ValueError, OSError) as error:
            first = first_line(error)
            raise InputError(f"LiteRT cannot run it: {first}", where=str(path)) from None
        first_opened = self._opened[0]
        self.batch, self.inputs, self.output = first_opened.batch, first_opened.inputs, first_opened.output

    def _open(self, batch: int | None) -> _Interpreter:
        try:
            return _Interpreter(self.path, batch, self._threads, self.kernels, self._asked)
        except (RuntimeError, ValueError):
            if batch == 1:
                raise
            return _Interpreter(self.path, 1, self._threads, self.kernels, self._asked)

    @property
    def sample_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one sample by input, without the batch; the only input has the empty name."""
        return {name: tuple(int(size) for size in info["shape"][1:]) for name, info in self.inputs.items()}

    def noise(self, samples: int, seed: int = 0) -> NDArray[Any]:
        """Seeded values for every input: in [0, 1) for floats (see `random_values`)."""
        rng = np.random.default_rng(seed)
        shapes, found = self.sample_shapes, {}
        for name, info in self.inputs.items():
            real = info["quantization"][0] and info["quantization"] != BYTES
            dtype = np.float32 if real else info["dtype"]
            found[name] = random_values(rng, (samples, *shapes[name]), dtype, 0.0, 1.0)
        return joined(found)

    def run(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """The output for every sample.

        Args:
            x: `[samples, …]` as the model was trained on, float32 or the integers that the model takes; may be
                memory-mapped. Of several inputs a structured array (see `litemill.artifacts.inputs`); where the file
                does not name its inputs, they are taken in its order.

        Returns:
            float32 `[samples, …]`, dequantized by the output's own scale.

        Raises:
            InputError: A sample has another shape than the model's input.
        """
        x = self._in_order(x)
        given = sample_shapes(x.shape[1:], x.dtype)
        if given != self.sample_shapes:
            what = f"a sample has {_message(given)}, it takes {_message(self.sample_shapes).removeprefix('shape ')}"
            raise InputError(what, where=str(self.path))
        if not self._proved:
            self._prove(np.asarray(x[: min(PROVED_SAMPLES, self.batch)]))
        found = np.empty((len(x), *self.output["shape"][1:]), np.float32)
        starts = itertools.count(0, self.batch)

        def work(interpreter: _Interpreter) -> None:
            # One step of the counter cannot be interrupted, so no batch is taken twice.
            while (start := next(starts)) < len(x):
                batch = slice(start, start + self.batch)
                found[batch] = interpreter.run(named(np.asarray(x[batch])))

        workers = min(self._workers, -(-len(x) // self.batch))
        while len(self._opened) < workers:
            self._opened.append(_Interpreter(self.path, self.batch, self._threads, self.kernels, self._asked))
        if workers > 1:
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(work, self._opened[:workers]))
        else:
            work(self._opened[0])
        return found

    def _in_order(self, x: NDArray[Any]) -> NDArray[Any]:
        """Samples under this file's own names of its inputs, where it has none that anybody else would know."""
        names = list(self.inputs)
        if not self._opened[0].unnamed or len(x.dtype.names or ()) != len(names):
            return x
        return x.view(np.dtype([(name, *x.dtype.descr[at][1:]) for at, name in enumerate(names)]))

    def _prove(self, x: NDArray[Any]) -> None:
        """Run sample by sample from here on if a batch gives other answers: some graphs mix what is in it."""
        self._proved = True
        if self.batch == 1 or not len(x):
            return
        alone = self._open(1)
        expected = np.concatenate([alone.run(named(x[at : at + 1])) for at in range(len(x))])
        if not same_answers(self._opened[0].run(named(x)), expected):
            log.info("%s: its answers depend on what else is in a batch; it runs sample by sample", self.path)
            self._opened, self.batch, self.inputs, self.output = [alone], 1, alone.inputs, alone.output


def same_answers(found: NDArray[np.float32], expected: NDArray[np.float32]) -> bool:
    """Whether each sample got the answer that is expected, to rounding.

    Args:
        found: `[samples, …]`.
        expected: The same; tells also how far the answers of different samples lie apart, output by output.
    """
    if found.shape != expected.shape:
        return False
    apart = np.ptp(expected, axis=0, keepdims=True) if len(expected) else 0.0
    largest = float(np.max(np.abs(expected), initial=0.0))
    with np.errstate(invalid="ignore"):
        close = np.abs(found - expected) <= APART * apart + ROUNDING * largest
    return bool(np.all(close | (found == expected) | (np.isnan(found) & np.isnan(expected))))


class _Interpreter:
    """One LiteRT interpreter, opened for a batch size and tried once, so that no later call fails on its shape."""

    def __init__(self, path: Path, batch: int | None, threads: int, kernels: Kernels, output: str) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        resolver = OpResolverType.BUILTIN_REF if kernels == "reference" else OpResolverType.AUTO
        interpreter = Interpreter(str(path), num_threads=threads, experimental_op_resolver_type=resolver)
        self._names = _signature(interpreter)
        self.unnamed = False
        inputs = self._inputs(interpreter)
        samples = {name: [int(size) for size in info["shape"][1:]] for name, info in inputs.items()}
        elements = sum(int(np.prod(sample)) for sample in samples.values())
        self.batch = batch or max(1, min(MAX_BATCH, BATCH_ELEMENTS // max(elements, 1)))
        for name, info in inputs.items():
            if info["shape"][0] != self.batch:
                interpreter.resize_tensor_input(info["index"], [self.batch, *samples[name]])
        interpreter.allocate_tensors()
        self._interpreter = interpreter
        self.inputs = self._inputs(interpreter)
        self._outputs = self._chosen(interpreter, path, output)
        self.output = _beside(self._outputs)
        self._stored = {name: np.zeros((self.batch, *samples[name]), info["dtype"]) for name, info in inputs.items()}
        self._scratch = {name: np.empty((2, self.batch, *sample), np.float32) for name, sample in samples.items()}
        if self.batch > 1:
            self._invoke()
            found = (interpreter.get_tensor(info["index"]) for info in interpreter.get_output_details())
            if any(tensor.shape[:1] != (self.batch,) for tensor in found):
                raise ValueError("the output does not follow the batch")

    def _inputs(self, interpreter: Any) -> dict[str, dict[str, Any]]:
        """Details of the inputs by their names in the signature; of the only one under the empty name.

        Without a signature they have their tensors' names, and who feeds them goes by the order.
        """
        details = interpreter.get_input_details()
        if len(details) == 1:
            return {"": details[0]}
        by_index = {info["index"]: info for info in details}
        if set(self._names["inputs"].values()) == set(by_index):
            return {name: by_index[index] for name, index in self._names["inputs"].items()}
        self.unnamed = True
        return dict(zip(ordered_names([str(info["name"]) for info in details]), details, strict=True))

    def _chosen(self, interpreter: Any, path: Path, output: str) -> list[dict[str, Any]]:
        details: list[dict[str, Any]] = interpreter.get_output_details()
        if not output:
            return details[:1]
        tensors = zip(ordered_names([str(info["name"]) for info in details]), details, strict=True)
        names = self._names["outputs"] or {name: int(info["index"]) for name, info in tensors}
        by_index = {int(info["index"]): info for info in details}
        chosen = []
        for part in parts_of(output, list(names)):
            if names.get(part, -1) not in by_index:
                known = ", ".join(sorted(names))
                raise InputError(f"has no output {part!r}; it has {known}", where=str(path))
            chosen.append(by_index[names[part]])
        return chosen

    def run(self, x: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        """The output for up to a batch of samples by input, dequantized; a smaller batch is filled up with zeros."""
        for name, part in x.items():
            count, stored = len(part), self._stored[name]
            quantize(part, self.inputs[name], out=stored[:count], scratch=self._scratch[name][:, :count])
            stored[count:] = 0
        self._invoke()
        get = self._interpreter.get_tensor
        return side_by_side([dequantize(get(info["index"])[:count], info) for info in self._outputs])

    def _invoke(self) -> None:
        for name, stored in self._stored.items():
            self._interpreter.set_tensor(self.inputs[name]["index"], stored)
        # State of recurrent layers must not go from one sample to the next: which that is depends on the batches.
        self._interpreter.reset_all_variables()
        self._interpreter.invoke()


def _beside(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Details of the output that is run, or of several side by side: then with the largest of their scales."""
    if len(outputs) == 1:
        return outputs[0]
    shape = joined_shape([tuple(int(size) for size in info["shape"][1:]) for info in outputs])
    if shape is None:
        shapes = ", ".join(f"{info['name']} {list(info['shape'][1:])}" for info in outputs)
        raise InputError(f"outputs {shapes} are not rows of the same boxes")
    scale = max(float(info["quantization"][0]) for info in outputs)
    return {**outputs[0], "shape": np.array([outputs[0]["shape"][0], *shape]), "quantization": (scale, 0)}


def ordered_names(names: Sequence[str]) -> list[str]:
    """Names for inputs that have none in a signature: those of their tensors if they tell them apart, else numbers."""
    distinct = all(names) and len(set(names)) == len(names)
    return list(names) if distinct else [f"input_{at}" for at in range(len(names))]


def _signature(interpreter: Any) -> dict[str, dict[str, int]]:
    """Tensor index of each input and output by its name in the file's signature; nothing where it keeps none."""
    signatures = interpreter.get_signature_list()
    if not signatures:
        return {"inputs": {}, "outputs": {}}
    served = interpreter.get_signature_runner(next(iter(signatures)))
    ends = {"inputs": served.get_input_details(), "outputs": served.get_output_details()}
    return {end: {name: int(info["index"]) for name, info in found.items()} for end, found in ends.items()}


def _message(shapes: dict[str, tuple[int, ...]]) -> str:
    """Shapes in words: those of several inputs with their names."""
    if set(shapes) == {""}:
        return f"shape {list(shapes[''])}"
    return ", ".join(f"{name or 'one unnamed input'} {list(shape)}" for name, shape in shapes.items())
