"""The `edgetpu` target: what Coral's compiler makes of a model or, where that is not installed, what rules predict."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.benchmark.session import Subject, failed
from litemill.config.target_specs import EDGETPU_COMPILER as PROGRAM
from litemill.config.target_specs import EdgeTpuSpec
from litemill.errors import DeviceError, InputError, StepFailed
from litemill.evidence.outcome import Measurement
from litemill.flatbuffer import read_graph
from litemill.flatbuffer.accelerators import ACCELERATORS

NAME = "edgetpu"

SECONDS = 300
"""The compiler ends itself after as many (by itself after 180), and is ended a little later."""

VERSION = re.compile(r"Edge TPU Compiler version (\S+)")
TOTAL = re.compile(r"^Total number of operations: (\d+)", re.MULTILINE)
SUBGRAPHS = re.compile(r"^Number of Edge TPU subgraphs: (\d+)", re.MULTILINE)
MEMORY = re.compile(
    r"^(On|Off)-chip memory used for (?:caching|streaming uncached) model parameters: (\S+)", re.MULTILINE
)
ROW = re.compile(r"^(\S+) +(\d+) +(\S.*)$", re.MULTILINE)
MAPPED = "Mapped to Edge TPU"
SIZE = re.compile(r"([\d.]+)(B|KiB|MiB|GiB)")
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


@dataclass(frozen=True)
class Compiled:
    """What the compiler tells of a model.

    Attributes:
        total: Ops of the model.
        mapped: Those that run on the Edge TPU, by type.
        left: Count and reason of those that stay on the CPU, by type.
        subgraphs: Segments that run on the Edge TPU; between two of them tensors travel to the CPU and back.
        on_chip: Bytes of weights kept in its memory.
        off_chip: Bytes of weights sent to it anew for each inference.
    """

    total: int
    mapped: dict[str, int] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    subgraphs: int = 0
    on_chip: int | None = None
    off_chip: int | None = None


class EdgeTpuTarget:
    """Coral's Edge TPU, by its compiler: ops, segments and memory. It tells no time."""

    def __init__(self, spec: EdgeTpuSpec) -> None:
        self.spec = spec

    def facts(self) -> dict[str, Any]:
        """See `Target.facts`."""
        compiler = self._compiler()
        if compiler is None:
            return {"compiler": f"static prediction: {PROGRAM} not found", "rules": ACCELERATORS[NAME].source}
        return {"compiler": compiler, "version": self._version(compiler)}

    def measure(self, subjects: Sequence[Subject], samples: NDArray[np.float32]) -> dict[str, Measurement]:
        """See `Target.measure`. Nothing is run, so there is no parity."""
        facts, compiler, found = self.facts(), self._compiler(), {}
        for subject in subjects:
            try:
                found[subject.sha256] = predict(subject) if compiler is None else _compile(subject, compiler)
            except (StepFailed, InputError) as error:
                found[subject.sha256] = failed(
                    str(error), kind="estimated", requested_accelerator=NAME, sha256=subject.sha256
                )
        return {key: one.model_copy(update={"device": facts}) for key, one in found.items()}

    def _compiler(self) -> str | None:
        """Path of the compiler: the one named in the config, else that on the PATH.

        Raises:
            DeviceError: The one that the config names is not there.
        """
        found = shutil.which(self.spec.compiler or PROGRAM)
        if found is None and self.spec.compiler:
            raise DeviceError(f"there is no program {self.spec.compiler!r}", where=self.spec.name)
        return found

    def _version(self, compiler: str) -> str:
        try:
            done = subprocess.run(
                [compiler, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DeviceError(f"{compiler} does not run ({error})", where=self.spec.name) from None
        message = VERSION.search(done.stdout.decode(errors="replace"))
        if message is None:
            raise DeviceError(f"{compiler} is no Edge TPU compiler: it tells no version", where=self.spec.name)
        return message[1]


def predict(subject: Subject) -> Measurement:
    """What the rules in `litemill.flatbuffer.accelerators` say the compiler would map.

    Raises:
        StepFailed: Nothing of it.
        InputError: The file cannot be read.
    """
    graph = read_graph(subject.path)
    message, total = graph.delegation[NAME], sum(graph.ops.values())
    if message.ops_fraction == 0:
        raise StepFailed(_refusal(next(iter(message.left.items()), ("it", "it has no ops"))))
    return _measurement(
        subject,
        message.ops_fraction,
        {
            "method": f"static prediction: {PROGRAM} not found",
            "rules": message.source,
            "ops": total,
            "mapped_ops": total - len(message.left),
            "left_on_cpu": message.left,
        },
    )


def _compile(subject: Subject, compiler: str) -> Measurement:
    with tempfile.TemporaryDirectory(prefix="litemill-edgetpu-") as name:
        output = run_compiler(compiler, subject.path, Path(name))
        message = read_output(output)
        written = list(Path(name).glob("*_edgetpu.tflite"))
        if not written or not written[0].stat().st_size:
            raise StepFailed(f"{PROGRAM} wrote no model: {_last_line(output)}")
        stored = written[0].stat().st_size
    mapped = sum(message.mapped.values())
    if mapped == 0:
        raise StepFailed(_refusal(next(iter(message.left.items()), ("it", "no op is listed"))))
    details = {
        "method": PROGRAM,
        "ops": message.total,
        "mapped_ops": mapped,
        "mapped": message.mapped,
        "left_on_cpu": message.left,
        "subgraphs": message.subgraphs,
        "on_chip_bytes": message.on_chip,
        "off_chip_bytes": message.off_chip,
    }
    return _measurement(subject, mapped / message.total, details).model_copy(update={"realised_bytes": stored})


def run_compiler(compiler: str, model: Path, out: Path) -> str:
    """Compile a model in a process of its own.

    Returns:
        What the compiler printed; the compiled model is in `out`.

    Raises:
        StepFailed: It refused, crashed or hung.
    """
    # -s: print the table of operations; -t: timeout in seconds; -o: folder to write to
    command = [compiler, "-s", "-t", str(SECONDS), "-o", str(out)]
    try:
        done = subprocess.run(
            [*command, str(model.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS + 30,
            check=False,
            cwd=out,
        )
    except subprocess.TimeoutExpired:
        raise StepFailed(f"{PROGRAM} took more than {SECONDS} s and was ended") from None
    output = done.stdout.decode(errors="replace")
    if done.returncode != 0 or "Compilation failed" in output or "Invalid model" in output:
        raise StepFailed(f"{PROGRAM} ended with exit code {done.returncode}: {_last_line(output)}")
    return output


def read_output(output: str) -> Compiled:
    """What the compiler printed with its table of operations.

    Raises:
        StepFailed: It is not what versions 2 to 16 print.
    """
    total, subgraphs = TOTAL.search(output), SUBGRAPHS.search(output)
    table = output.partition("Count      Status")[2]
    rows = [(op, int(count), status.strip()) for op, count, status in ROW.findall(table)]
    if total is None or subgraphs is None or sum(count for _, count, _ in rows) != int(total[1]):
        raise StepFailed(f"{PROGRAM} printed no table of all its operations: {_last_line(output)}")
    memory = {where: _bytes(text) for where, text in MEMORY.findall(output)}
    left: dict[str, str] = {}
    for op, count, status in rows:
        if status != MAPPED:
            left[op] = "; ".join(filter(None, [left.get(op, ""), f"{count}: {status}"]))
    return Compiled(
        total=int(total[1]),
        mapped={op: count for op, count, status in rows if status == MAPPED},
        left=left,
        subgraphs=int(subgraphs[1]),
        on_chip=memory.get("On"),
        off_chip=memory.get("Off"),
    )


def _measurement(subject: Subject, fraction: float, details: dict[str, Any]) -> Measurement:
    return Measurement(
        recipe="",
        target="",
        kind="estimated",
        sha256=subject.sha256,
        requested_accelerator=NAME,
        actual_accelerator=NAME if fraction == 1 else f"{NAME} and cpu",
        delegated_fraction=fraction,
        details=details,
    )


def _bytes(text: str) -> int | None:
    found = SIZE.fullmatch(text)
    return round(float(found[1]) * UNITS[found[2]]) if found else None


def _refusal(first: tuple[str, str]) -> str:
    op, why = first
    return f"no op of it runs on the Edge TPU, which takes models that are int8 throughout ({op}: {why})"


def _last_line(output: str) -> str:
    """The line that says most: the reason of a failure, else the last one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    message = [
        line for line in lines if re.match(r"Compilation failed: |Model not quantized|ERROR: |Internal compiler", line)
    ]
    return (message or lines or ["it printed nothing"])[-1]
