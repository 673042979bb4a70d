"""A model opened for one accelerator, and for that alone: where it cannot run there, opening it fails."""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

OPENVINO = {"intel": "NPU", "intel-cpu": "CPU"}
"""OpenVINO's device by vendor name: `intel-cpu` runs the NPU's whole path on a CPU."""


def open_model(entry: dict[str, Any], accelerator: str, threads: int) -> InterpreterModel | AcceleratedModel:
    """Open a `.tflite` for one accelerator.

    Args:
        entry: Its `path`, and of several outputs the one that is read: `output` (its position), `output_name`.
        accelerator: `cpu`, `cpu-reference`, `delegate:<library>`, `gpu` or `npu:<vendor>`.
        threads: Threads of an inference, where the accelerator is the CPU.
    """
    if accelerator == "gpu" or accelerator.startswith("npu:"):
        return AcceleratedModel(entry["path"], accelerator, entry.get("output_name", ""))
    return InterpreterModel(entry["path"], accelerator, threads, entry.get("output", 0))


def fields(sample: Any) -> list[Any]:
    """The parts of a sample `[1, …]`: a structured array has one for each input."""
    names = sample.dtype.names
    return [np.ascontiguousarray(sample[name]) for name in names] if names else [np.ascontiguousarray(sample)]


ADAPTER = re.compile(r"Selected adapter: (.*)")
"""What LiteRT logs of the GPU it chose: its name, backend and type, which may be `CPU / Software`."""
CAUSE = re.compile(r"^ERROR: (?:\[[^]]*\] )?(Failed .*)", re.MULTILINE)


@contextmanager
def listening(output: list[str]) -> Iterator[None]:
    """Append what native code says on stderr in the block; stderr gets it all the same, afterwards."""
    with tempfile.TemporaryFile() as file:
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            content = file.read()
            os.write(2, content)
            output.append(content.decode(errors="replace"))


def cause(output: str) -> str:
    """The first failure that LiteRT logged."""
    found = CAUSE.search(output)
    return found[1] if found else ""


class InterpreterModel:
    """A model in the LiteRT interpreter: on the CPU, or on what a delegate library reaches."""

    adapter = ""

    def __init__(self, path: str, accelerator: str, threads: int, output: int) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType, load_delegate

        resolver, delegates = OpResolverType.AUTO, None
        if accelerator == "cpu-reference":
            resolver = OpResolverType.BUILTIN_REF
        elif accelerator != "cpu":
            library = accelerator.partition(":")[2]
            try:
                delegates = [load_delegate(library)]
            except (OSError, ValueError) as error:
                raise RuntimeError(f"cannot load delegate {library}: {error}") from None
            # XNNPACK must not take what the delegate leaves: it would pass for the delegate's work
            resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self._interpreter = Interpreter(
            path, num_threads=threads, experimental_op_resolver_type=resolver, experimental_delegates=delegates
        )
        self._interpreter.allocate_tensors()
        self._inputs = [info["index"] for info in self._interpreter.get_input_details()]
        self._output = self._interpreter.get_output_details()[output]["index"]
        self.invoke: Callable[[], None] = self._interpreter.invoke
        counts = self.ops()
        if delegates and not counts["delegated"]:
            raise RuntimeError(f"delegate {accelerator.partition(':')[2]} took none of {counts['total']} ops")

    def feed(self, sample: Any) -> None:
        """Set the inputs, `[1, …]`, and forget what recurrent layers keep of the sample before."""
        for index, part in zip(self._inputs, fields(sample), strict=True):
            self._interpreter.set_tensor(index, part)
        self._interpreter.reset_all_variables()

    def read(self) -> Any:
        """The output, `[1, …]`."""
        return self._interpreter.get_tensor(self._output)

    def ops(self) -> dict[str, int]:
        """How many of the model's ops there are, and how many a delegate took.

        A delegate's node stands behind the ops it replaced: the ops that still run are those reached from the outputs.
        """
        nodes = self._interpreter._get_ops_details()
        producer = {int(tensor): node for node in nodes for tensor in node["outputs"]}
        waiting = [int(output["index"]) for output in self._interpreter.get_output_details()]
        running, seen = set(), set()
        while waiting:
            node = producer.get(waiting.pop())
            if node is None or node["index"] in seen:
                continue
            seen.add(node["index"])
            if node["op_name"] != "DELEGATE":
                running.add(node["index"])
            waiting += [int(tensor) for tensor in node["inputs"] if tensor >= 0]
        own = [node for node in nodes if node["op_name"] != "DELEGATE"]
        return {"total": len(own), "delegated": len(own) - len(running)}


class AcceleratedModel:
    """A model compiled by LiteRT for a GPU or an NPU.

    The accelerator is asked for alone: with the CPU beside it, a failed compilation runs on the CPU, ends with exit
    code 0 and still calls itself fully accelerated.
    """

    def __init__(self, path: str, accelerator: str, output: str) -> None:
        from ai_edge_litert.compiled_model import CompiledModel

        environment, options = _gpu() if accelerator == "gpu" else _npu(accelerator.partition(":")[2])
        log: list[str] = []
        try:
            with listening(log):
                self._model = CompiledModel.from_file(path, environment=environment, options=options)
        except RuntimeError as error:
            raise RuntimeError(f"{accelerator}: {cause(log[0]) or error}") from None
        chosen = ADAPTER.search(log[0])
        self.adapter = chosen[1].strip() if chosen else ""
        if not self._model.is_fully_accelerated():
            raise RuntimeError(f"{accelerator} takes only a part of the model")
        self._inputs, self._outputs = self._model.create_input_buffers(0), self._model.create_output_buffers(0)
        signature = self._model.get_signature_by_index(0)
        details = self._model.get_output_tensor_details(signature["key"])
        self._names: list[str] = list(signature["inputs"])
        self._position = list(signature["outputs"]).index(output) if output else 0
        self._output = details[output] if output else next(iter(details.values()))
        self._size, self._dtype = math.prod(self._output["shape"]), np.dtype(self._output["dtype"])
        self._read: Any = None

    def feed(self, sample: Any) -> None:
        """Set the inputs, `[1, …]`."""
        order = [self._names.index(name) for name in sample.dtype.names or self._names[:1]]
        for position, part in zip(order, fields(sample), strict=True):
            self._inputs[position].write(part)

    def invoke(self) -> None:
        """Run and wait for the result: `run` alone returns before a GPU is done."""
        self._model.run_by_index(0, self._inputs, self._outputs)
        self._read = self._outputs[self._position].read(self._size, self._dtype.type)

    def read(self) -> Any:
        """The output, `[1, …]`."""
        return np.asarray(self._read).reshape(self._output["shape"])

    def ops(self) -> dict[str, int]:
        """One whole, taken whole."""
        return {"total": 1, "delegated": 1}


def _gpu() -> tuple[Any, Any]:
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator
    from ai_edge_litert.options import Options

    return None, Options(hardware_accelerators=HardwareAccelerator.GPU)


def _npu(vendor: str) -> tuple[Any, Any]:
    """LiteRT's environment and options for a vendor's NPU, with the libraries that the wheel has for it."""
    import ai_edge_litert
    from ai_edge_litert.environment import Environment, EnvironmentOptions
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator
    from ai_edge_litert.options import IntelOpenVinoOptions, Options

    base = Path(ai_edge_litert.__file__).parent
    folder = base / "vendors" / ("intel_openvino" if vendor in OPENVINO else vendor)
    if not any((folder / "dispatch").glob("libLiteRtDispatch_*.so")):
        raise RuntimeError(f"this ai-edge-litert has no dispatch library for {vendor!r} on {os.uname().machine}")
    environment = Environment.create(
        options=EnvironmentOptions(
            runtime_path=str(base),
            compiler_plugin_path=str(folder / "compiler"),
            dispatch_library_path=str(folder / "dispatch"),
        )
    )
    options = Options(hardware_accelerators=HardwareAccelerator.NPU)
    if vendor in OPENVINO:
        backend = IntelOpenVinoOptions.GRAPH_BACKEND[OPENVINO[vendor]]
        options = Options(
            hardware_accelerators=HardwareAccelerator.NPU,
            intel_openvino_options=IntelOpenVinoOptions(graph_backend=backend),
        )
    return environment, options
