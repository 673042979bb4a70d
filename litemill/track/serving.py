"""A `.tflite` as an app runs it: raw samples in, the recorded preprocessing, LiteRT, and labels out."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.inputs import joined, named
from litemill.config.data import Preprocessing
from litemill.data.preprocess import preprocess
from litemill.errors import InputError
from litemill.evidence.interface import Interface
from litemill.runtime.runner import Runner
from litemill.tasks import Reading, task_of

Array = NDArray[Any]


class TfliteModel:
    """A `.tflite` with what an app must know of it. Safe to call from several threads.

    Args:
        file: The `.tflite`.
        interface: How raw samples become inputs, and what outputs mean.
    """

    def __init__(self, file: Path, interface: Interface) -> None:
        self.file, self.interface = file, interface
        self._one_at_a_time = threading.Lock()

    @cached_property
    def _runner(self) -> Runner:
        return Runner(self.file, output=self.interface.output)

    def scores(self, samples: Any) -> NDArray[np.float32]:
        """The model's output for raw samples: float32 `[samples, …]`, dequantized.

        Args:
            samples: `[samples, …]` before preprocessing, or one sample; of several inputs a mapping of them by name.

        Raises:
            InputError: They have another shape than the model's inputs.
        """
        with self._one_at_a_time:
            shapes = self._runner.sample_shapes
            given = samples if isinstance(samples, Mapping) else {next(iter(shapes)): samples}
            only = set(shapes) == {""}  # which goes by any name
            if len(given) != 1 if only else set(given) != set(shapes):
                has = "one input" if only else f"inputs {', '.join(sorted(shapes))}"
                what = f"has {has}, given were {', '.join(sorted(map(str, given)))}"
                raise InputError(what, where=self.file.name)
            values = dict(zip(shapes, given.values(), strict=True)) if only else given
            parts = {name: self._prepared(name, values[name], shape) for name, shape in shapes.items()}
            return self._runner.run(joined(parts))

    def predict(self, samples: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Answer raw samples, as MLflow asks for it.

        Args:
            samples: As `scores` takes them; also a frame of pandas with a row a sample.
            params: Not used: the model has none.

        Returns:
            For a classifier a frame of pandas: `label`, its `score` and all `scores`; else the outputs.
        """
        found = self.scores(_plain(samples))
        about = self.interface
        task = task_of(about.task)
        if about.task != "classification" or task.decide is None:
            return found
        import pandas as pd

        decided = task.decide(found, Reading(classes=about.classes, output_is=about.output_is)).astype(int)
        rows = found.reshape(len(found), -1).astype(float)
        score = rows[np.arange(len(rows)), decided] if rows.shape[1] > 1 else self._of_two(rows[:, 0], decided)
        labels = [self._label(one) for one in decided]
        return pd.DataFrame({"label": labels, "score": score, "scores": rows.tolist()})

    def _of_two(self, values: Array, decided: Array) -> Array:
        """The probability of the class that was decided on, of a single output that says how likely the second is."""
        second = 1 / (1 + np.exp(-values)) if self.interface.output_is == "logits" else values
        return np.where(decided == 1, second, 1 - second)

    def _label(self, index: int) -> str:
        names = self.interface.labels
        return names[index] if index < len(names) else str(index)

    def _prepared(self, name: str, samples: Any, shape: tuple[int, ...]) -> Array:
        """Raw samples of an input as the file takes them."""
        raw = np.asarray(samples)
        if raw.dtype.kind not in "buif":
            raise InputError(f"samples are {raw.dtype}, not numbers", where=name or self.file.name)
        if raw.shape == shape:
            raw = raw[np.newaxis]
        if raw.shape[1:] != shape:
            if not raw.size or raw.size % max(1, int(np.prod(shape))) or raw.ndim != 2:
                what = f"a sample has shape {list(raw.shape[1:])}, it takes {list(shape)}"
                raise InputError(what, where=name or self.file.name, fix="Images are decoded and resized before")
            raw = raw.reshape(-1, *shape)  # a frame has a row of numbers for each sample
        info = self._runner.inputs[name]
        if np.dtype(info["dtype"]).kind in "biu" and not info["quantization"][0]:
            return raw.astype(info["dtype"])
        recorded = self.interface.preprocessing
        own = recorded.get(name, {}) if self.interface.inputs else recorded
        return preprocess(raw, Preprocessing.model_validate(own))


def _plain(samples: Any) -> Any:
    """What MLflow hands over, as arrays: a frame becomes the rows of one input, or its columns are inputs."""
    if hasattr(samples, "to_numpy") and hasattr(samples, "columns"):
        return samples.to_numpy()
    if isinstance(samples, Mapping):
        return {str(name): np.asarray(one) for name, one in samples.items()}
    return samples if not isinstance(samples, np.ndarray) or not samples.dtype.names else named(samples)
