"""Runs on the device: loads `.tflite` files in LiteRT, times them, returns their outputs and what the device is.

This file is pushed to devices as it is, so it needs nothing but the standard library, numpy and ai-edge-litert, and
keeps to Python 3.9. No other Python thread may run beside it: `invoke` releases the interpreter lock, and a busy
thread made the median 15 times worse.

    python device_runner.py JOB.json

The job names a mode, the models (`key`, `path`, `inputs`: a .npy of raw samples in the model's own dtype) and an
`out` folder, which gets `result.json` and `<key>.npy` with the raw first output for each sample. Modes:

- `probe`: one model in a fresh process: init, first inference, peak memory, which ops were delegated.
- `latency`: all models in one process, in interleaved blocks after a warm-up.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

EPISODES = 8
"""How often the models are loaded anew: where the loader puts a model moves its median by a per cent or two."""
MIN_EPISODES = 4
MAX_CALLS, MAX_ROUNDS = 100, 16
"""Calls of a block and rounds of an episode: more of them cost time and narrow no interval."""
PATIENCE = 4
"""A session whose models are too slow for its seconds ends at this multiple of them, after MIN_EPISODES at least."""


class InterpreterModel:
    """A model in the LiteRT interpreter, on the CPU."""

    def __init__(self, path: str, accelerator: str, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        resolver = {"cpu": OpResolverType.AUTO, "cpu-reference": OpResolverType.BUILTIN_REF}[accelerator]
        self._interpreter = Interpreter(path, num_threads=threads, experimental_op_resolver_type=resolver)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self.invoke: Callable[[], None] = self._interpreter.invoke

    def feed(self, sample: Any) -> None:
        """Set the input, `[1, …]`."""
        self._interpreter.set_tensor(self._input, sample)

    def read(self) -> Any:
        """The first output, `[1, …]`."""
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


def outputs_of(model: InterpreterModel, inputs: Any) -> Any:
    """Raw first output for every raw sample."""
    found = []
    for position in range(len(inputs)):
        model.feed(inputs[position : position + 1])
        model.invoke()
        found.append(np.array(model.read()))
    return np.concatenate(found)


def probe(job: dict[str, Any]) -> dict[str, Any]:
    """Load one model as an application would, run it, and tell what that took."""
    (entry,) = job["models"]
    inputs = np.load(entry["inputs"], allow_pickle=False)
    before = peak_memory()
    start = time.perf_counter()
    model = InterpreterModel(entry["path"], job["accelerator"], job["threads"])
    loaded = time.perf_counter()
    model.feed(inputs[:1])
    fed = time.perf_counter()
    model.invoke()
    done = time.perf_counter()
    np.save(Path(job["out"]) / f"{entry['key']}.npy", outputs_of(model, inputs))
    return {
        "init_ms": (loaded - start) * 1e3,
        "first_inference_ms": (done - fed) * 1e3,
        "peak_memory_bytes": peak_memory(),
        "memory_before_load_bytes": before,
        "ops": model.ops(),
    }


def latency(job: dict[str, Any]) -> dict[str, Any]:
    """Time all models in interleaved blocks; outputs are those of the very models that were timed."""
    inputs = {entry["key"]: np.load(entry["inputs"], allow_pickle=False) for entry in job["models"]}
    randomness = random.Random(job["seed"])  # noqa: S311
    samples: dict[str, list[list[list[float]]]] = {key: [] for key in inputs}
    calls: dict[str, int] = {}
    rounds = 0
    start = time.monotonic()
    budget = job["seconds"] * len(inputs)
    for episode in range(EPISODES):
        if episode >= MIN_EPISODES and time.monotonic() - start > PATIENCE * budget:
            break
        models = load(job, inputs, randomness)
        if episode == 0:
            typical = {key: warm_up(model, job["warmup_calls"], job["warmup_seconds"]) for key, model in models.items()}
            calls = {key: max(1, min(MAX_CALLS, round(job["block_seconds"] / took))) for key, took in typical.items()}
            one_round = sum(typical[key] * calls[key] for key in calls)
            rounds = max(1, min(MAX_ROUNDS, round(budget / EPISODES / one_round)))
        else:
            for model in models.values():
                warm_up(model, min(3, job["warmup_calls"]), job["warmup_seconds"] / 20)
        for key, blocks in interleave(models, inputs, calls, rounds, randomness).items():
            samples[key].append(blocks)
    for key, model in models.items():
        np.save(Path(job["out"]) / f"{key}.npy", outputs_of(model, inputs[key]))
    return {"samples_ms": samples}


def load(job: dict[str, Any], inputs: dict[str, Any], randomness: random.Random) -> dict[str, InterpreterModel]:
    """Load every model, in a new order and with a new amount of memory taken before each."""
    entries = list(job["models"])
    randomness.shuffle(entries)
    models, padding = {}, []
    for entry in entries:
        padding.append(bytearray(randomness.randrange(1, 1 << 20)))
        models[entry["key"]] = InterpreterModel(entry["path"], job["accelerator"], job["threads"])
        models[entry["key"]].feed(inputs[entry["key"]][:1])
    return models


def warm_up(model: InterpreterModel, calls: int, seconds: float) -> float:
    """Invoke until both limits are reached; returns the mean of the second half, in seconds."""
    taken: list[float] = []
    start = time.perf_counter()
    while len(taken) < calls or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        model.invoke()
        taken.append(time.perf_counter() - before)
    settled = taken[len(taken) // 2 :]
    return max(sum(settled) / len(settled), 1e-7)


def interleave(
    models: dict[str, InterpreterModel],
    inputs: dict[str, Any],
    calls: dict[str, int],
    rounds: int,
    randomness: random.Random,
) -> dict[str, list[list[float]]]:
    """One block of each model a round, in a new order each time, on the next sample each time; milliseconds."""
    blocks: dict[str, list[list[float]]] = {key: [] for key in models}
    order = list(models)
    for position in range(rounds):
        randomness.shuffle(order)
        for key in order:
            sample = position % len(inputs[key])
            models[key].feed(inputs[key][sample : sample + 1])
            blocks[key].append(block(models[key].invoke, calls[key]))
    return blocks


def block(invoke: Callable[[], None], calls: int) -> list[float]:
    """Time consecutive calls; where there are several, one untimed call first fills the caches anew."""
    clock = time.perf_counter_ns
    taken = [0] * calls
    gc.disable()
    try:
        if calls > 1:
            invoke()
        for position in range(calls):
            before = clock()
            invoke()
            taken[position] = clock() - before
    finally:
        gc.enable()
    return [nanoseconds / 1e6 for nanoseconds in taken]


def peak_memory() -> int | None:
    """Peak resident memory of this process in bytes (`ru_maxrss` would inherit the parent's)."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), "")
    return int(line.split()[1]) * 1024 if line else None


def device() -> dict[str, Any]:
    """What runs the models."""
    from importlib import metadata

    try:
        runtime = metadata.version("ai-edge-litert")
    except metadata.PackageNotFoundError:
        runtime = "unknown"
    return {
        "machine": platform.machine(),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "ai-edge-litert": runtime,
        "numpy": np.__version__,
    }


def cpu_name() -> str:
    """The CPU's name where the kernel tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    named = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in named.items()}
    return fields.get("model name") or fields.get("Model") or fields.get("Hardware") or platform.processor()


def machine_state() -> dict[str, Any]:
    """What may disturb a measurement, where it is readable: load, governor, clock, temperature, throttling."""
    state: dict[str, Any] = {"load": [round(value, 2) for value in os.getloadavg()]}
    cpu = Path("/sys/devices/system/cpu/cpu0")
    readings = {
        "governor": cpu / "cpufreq" / "scaling_governor",
        "clock_khz": cpu / "cpufreq" / "scaling_cur_freq",
        "throttle_count": cpu / "thermal_throttle" / "core_throttle_count",
    }
    for name, path in readings.items():
        value = read(path)
        if value:
            state[name] = int(value) if value.isdigit() else value
    temperatures = [read(zone / "temp") for zone in sorted(Path("/sys/class/thermal").glob("thermal_zone*"))]
    degrees = [int(value) / 1000 for value in temperatures if value.lstrip("-").isdigit()]
    if degrees:
        state["hottest_celsius"] = max(degrees)
    return state


def read(path: Path) -> str:
    """A small file's text, or nothing."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


MODES = {"probe": probe, "latency": latency}


def main() -> None:
    """Do the job named on the command line; `result.json` appears only when it is complete."""
    job = json.loads(Path(sys.argv[1]).read_text())
    out = Path(job["out"])
    out.mkdir(parents=True, exist_ok=True)
    before = machine_state()
    result = MODES[job["mode"]](job)
    result.update(device=device(), state={"before": before, "after": machine_state()})
    beside = out / "result.json.part"
    beside.write_text(json.dumps(result))
    beside.replace(out / "result.json")


if __name__ == "__main__":
    main()
