"""Time models side by side: loaded anew several times, in interleaved blocks."""

from __future__ import annotations

import gc
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .models import AcceleratedModel, InterpreterModel, open_model

Model = InterpreterModel | AcceleratedModel

EPISODES = 8
"""How often the models are loaded anew: where the loader puts a model moves its median by a per cent or two."""
MIN_EPISODES = 4
MAX_CALLS, MAX_ROUNDS = 100, 16
"""Calls of a block and rounds of an episode: more of them cost time and narrow no interval."""
PATIENCE = 4
"""A session whose models are too slow for its seconds ends at this multiple of them, after MIN_EPISODES at least."""


def outputs_of(model: Model, inputs: Any) -> Any:
    """Raw first output for every raw sample."""
    found = []
    for position in range(len(inputs)):
        model.feed(inputs[position : position + 1])
        model.invoke()
        found.append(np.array(model.read()))
    return np.concatenate(found)


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
    return {"samples_ms": samples, "python_threads": threading.active_count()}


def load(job: dict[str, Any], inputs: dict[str, Any], randomness: random.Random) -> dict[str, Model]:
    """Load every model, in a new order and with a new amount of memory taken before each."""
    entries = list(job["models"])
    randomness.shuffle(entries)
    models, padding = {}, []
    for entry in entries:
        padding.append(bytearray(randomness.randrange(1, 1 << 20)))
        models[entry["key"]] = open_model(entry, job["accelerator"], job["threads"])
        models[entry["key"]].feed(inputs[entry["key"]][:1])
    return models


def warm_up(model: Model, calls: int, seconds: float) -> float:
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
    models: dict[str, Model],
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
