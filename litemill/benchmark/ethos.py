"""The `ethos-u…` targets: what Arm's compiler for the Ethos-U NPUs makes of a model. Estimates, and marked as such."""

from __future__ import annotations

import csv
import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.benchmark.session import Subject, failed
from litemill.config.target_specs import EthosSpec
from litemill.config.targets import tells
from litemill.errors import DeviceError, StepFailed
from litemill.evidence.outcome import Measurement
from litemill.flatbuffer.reader import ints, parse_model
from litemill.slim.sharing import pack_shared

SECONDS = 600.0
CONFIG_FILE = "Arm/vela.ini"

OPS = re.compile(r"^(CPU|NPU) operators = (\d+)", re.MULTILINE)
OP_NAME = re.compile(r"op(\d+)_")
"""How a tensor is named for `EthosTarget.op_milliseconds`; Vela adds to it what an op is taken apart into."""
REASON = re.compile(r"operator: (\w+).*?\nReason: (.*?)\n", re.DOTALL)


class EthosTarget:
    """Ethos-U by Vela's performance model."""

    def __init__(self, spec: EthosSpec) -> None:
        self.accelerator = spec.device
        self.system, self.memory = spec.vela_system, spec.vela_memory
        self._tells_arena = tells(spec, "arena")

    def facts(self) -> dict[str, Any]:
        """See `Target.facts`."""
        if importlib.util.find_spec("ethosu") is None:
            raise DeviceError("ethos-u-vela is not installed", fix="Install litemill[devices]")
        compiler = f"ethos-u-vela {version('ethos-u-vela')}"
        return {"compiler": compiler, "system_config": self.system, "memory_mode": self.memory}

    def measure(self, subjects: Sequence[Subject], samples: NDArray[np.float32]) -> dict[str, Measurement]:
        """See `Target.measure`. Nothing is run, so there is no parity."""
        self.facts()
        found = {}
        for subject in subjects:
            try:
                found[subject.sha256] = self._estimate(subject)
            except StepFailed as error:
                found[subject.sha256] = failed(
                    str(error), kind="estimated", requested_accelerator=self.accelerator, sha256=subject.sha256
                )
        return found

    def op_milliseconds(self, model: Path) -> dict[int, float]:
        """What Vela estimates for each op of a file that the NPU takes, by the op's position in the main graph.

        Raises:
            DeviceError: Vela is not installed.
            StepFailed: It refused the file.
        """
        self.facts()
        with tempfile.TemporaryDirectory(prefix="litemill-vela-") as name:
            folder = Path(name)
            (folder / "named.tflite").write_bytes(with_op_names(model.read_bytes()))
            more = ["--verbose-performance"]
            compile_model(folder / "named.tflite", self.accelerator, self.system, self.memory, folder, more)
            clock = float(read_summary(folder)["core_clock"])
            rows = [row for file in folder.glob("*_per-layer.csv") for row in csv.DictReader(file.open(newline=""))]
        found: dict[int, float] = {}
        for row in rows:
            if place := OP_NAME.match(row["Name"]):
                at = int(place[1])
                found[at] = found.get(at, 0.0) + float(row["Op Cycles"]) / clock * 1e3
        return found

    def _estimate(self, subject: Subject) -> Measurement:
        with tempfile.TemporaryDirectory(prefix="litemill-vela-") as name:
            output = compile_model(subject.path, self.accelerator, self.system, self.memory, Path(name))
            summary = read_summary(Path(name))
            stored = next(Path(name).glob("*_vela.tflite")).stat().st_size
        counts = {where: int(count) for where, count in OPS.findall(output)}
        cpu, npu = counts.get("CPU", 0), counts.get("NPU", 0)
        milliseconds, cycles = float(summary["inference_time"]) * 1e3, int(float(summary["cycles_total"]))
        if npu == 0 or cycles == 0:
            # Vela ends with exit code 0 and a latency of 0.0 here
            raise StepFailed(f"no op of it runs on the NPU ({_first_refusal(output)})")
        return Measurement(
            recipe="",
            target="",
            kind="estimated",
            sha256=subject.sha256,
            requested_accelerator=self.accelerator,
            actual_accelerator=self.accelerator if cpu == 0 else f"{self.accelerator} and cpu",
            delegated_fraction=npu / (npu + cpu),
            # with ops left on the CPU the estimate leaves their time out, so it is no latency of the model
            latency_ms={"p50": milliseconds} if cpu == 0 else {},
            peak_memory_bytes=_kibibytes(summary, "sram_memory_used", "dram_memory_used"),
            arena_bytes=_kibibytes(summary, "sram_memory_used") if self._tells_arena and cpu == 0 else None,
            # where weights are read from DRAM they still come out of the file that is stored
            realised_bytes=_kibibytes(summary, "on_chip_flash_memory_used", "off_chip_flash_memory_used") or stored,
            device=self.facts() | {"clock_hz": float(summary["core_clock"])},
            details={
                "npu_ms": milliseconds,
                "cycles": cycles,
                "sram_bytes": _kibibytes(summary, "sram_memory_used"),
                "dram_bytes": _kibibytes(summary, "dram_memory_used"),
                "npu_weight_bytes": int(float(summary["total_npu_encoded_weights"])),
                "original_weight_bytes": int(float(summary["total_original_weights"])),
                "compiled_file_bytes": stored,
                "cpu_ops": cpu,
                **({"left_on_cpu": _first_refusal(output)} if cpu else {}),
            },
        )


def with_op_names(data: bytes) -> bytes:
    """A copy of a file whose tensors tell the op that writes them: Vela lists what it made of an op by that name."""
    model = parse_model(data, where="the file")
    graph = model.subgraphs[0]
    for at, op in enumerate(graph.operators or []):
        for index in ints(op.outputs):
            graph.tensors[index].name = f"op{at}_".encode()
    return pack_shared(model)


def compile_model(model: Path, accelerator: str, system: str, memory: str, out: Path, more: Sequence[str] = ()) -> str:
    """Run Vela in a process of its own; `more` are further options.

    Returns:
        What it printed; the summary CSV is in `out`.

    Raises:
        StepFailed: It refused, crashed or hung.
    """
    command = [sys.executable, "-P", "-m", "ethosu.vela", str(model), "--accelerator-config", accelerator]
    command += ["--config", CONFIG_FILE, "--system-config", system, "--memory-mode", memory]
    command += ["--output-dir", str(out), *more]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False, cwd=out
        )
    except subprocess.TimeoutExpired:
        raise StepFailed(f"Vela took more than {SECONDS:g} s and was ended") from None
    output = done.stdout + done.stderr
    if done.returncode != 0:
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        raise StepFailed(f"Vela ended with exit code {done.returncode}: {lines[-1] if lines else 'it printed nothing'}")
    return output


def read_summary(folder: Path) -> dict[str, str]:
    """The one row of Vela's summary.

    Raises:
        StepFailed: There is none.
    """
    files = list(folder.glob("*_summary_*.csv"))
    rows = list(csv.DictReader(files[0].open(newline=""))) if files else []
    if len(rows) != 1:
        raise StepFailed("Vela left no summary")
    return rows[0]


def _kibibytes(summary: dict[str, str], *columns: str) -> int:
    """Sum of columns that Vela gives in KiB, as bytes."""
    return round(sum(float(summary[column]) for column in columns) * 1024)


def _first_refusal(output: str) -> str:
    """The first reason Vela gives for leaving an op on the CPU."""
    found = REASON.search(output)
    # Vela names the tensor in brackets behind it, which is empty where the model has no names
    return f"{found[1]}: {found[2].removesuffix(' ()')}" if found else "it says not why"
