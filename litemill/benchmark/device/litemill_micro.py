"""Runs one model in TensorFlow Lite for Microcontrollers: its outputs and the smallest arena it works in.

    python -m litemill_micro JOB.json

The job names `model`, `inputs` (a .npy of raw samples), `output` (its position) and `out`, which gets `result.json` and
`outputs.npy`. Where it names `tables`, the same model with look-up tables, that is run too: its arena, and whether its
outputs are equal bit for bit.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from litemill.runtime.micro import complaint, load, run, smallest_arena


def with_tables(model: bytes, inputs: Any, output: int, out: Path) -> dict[str, Any]:
    """The same facts of the file with look-up tables, and whether it gives the outputs in `outputs.npy`."""
    arena = smallest_arena(model, inputs)
    if not arena:
        return {"refused": complaint(model, inputs)}
    found = run(load(model, arena), inputs, output)
    return {"arena_bytes": arena, "equal": bool(np.array_equal(found, np.load(out / "outputs.npy")))}


def main() -> None:
    """Do the job named on the command line."""
    job = json.loads(Path(sys.argv[1]).read_text())
    out = Path(job["out"])
    model, inputs = Path(job["model"]).read_bytes(), np.load(job["inputs"], allow_pickle=False)
    arena = smallest_arena(model, inputs)
    result: dict[str, Any] = {"arena_bytes": arena}
    if arena:
        np.save(out / "outputs.npy", run(load(model, arena), inputs, job["output"]))
    else:
        result["refused"] = complaint(model, inputs)
    if arena and job.get("tables"):
        result["tables"] = with_tables(Path(job["tables"]).read_bytes(), inputs, job["output"], out)
    (out / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
