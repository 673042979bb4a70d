"""See the package: `python -m litemill_runner JOB.json`."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from .machine import device, machine_state, peak_memory
from .models import open_model
from .timing import latency, outputs_of


def probe(job: dict[str, Any]) -> dict[str, Any]:
    """Load one model as an application would, run it, and tell what that took."""
    (entry,) = job["models"]
    inputs = np.load(entry["inputs"], allow_pickle=False)
    before = peak_memory()
    start = time.perf_counter()
    model = open_model(entry, job["accelerator"], job["threads"])
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
        "adapter": model.adapter,
    }


def facts(job: dict[str, Any]) -> dict[str, Any]:
    """Nothing but what every result tells."""
    return {}


MODES = {"facts": facts, "probe": probe, "latency": latency}


def main() -> None:
    """Do the job named on the command line; `result.json` appears only when it is complete."""
    job = json.loads(Path(sys.argv[1]).read_text())
    # the kernel ends this process even inside native code, and even when the host is gone
    signal.alarm(max(1, int(job["time_limit"])))
    out = Path(job["out"])
    out.mkdir(parents=True, exist_ok=True)
    before = machine_state()
    result = MODES[job["mode"]](job)
    result.update(device=device(), state={"before": before, "after": machine_state()})
    beside = out / "result.json.part"
    beside.write_text(json.dumps(result))
    beside.replace(out / "result.json")


if __name__ == "__main__":
    try:
        main()
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        # destructors of half-made native objects would write their own last words, or crash
        os._exit(1)
