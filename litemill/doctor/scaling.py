"""Find out whether the preprocessing is the one the model was trained with, by trying the usual ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.inputs import named
from litemill.config.run import DataSpec, Preprocessing
from litemill.data.preprocess import model_inputs
from litemill.data.sampling import balanced
from litemill.data.source import Source
from litemill.doctor.findings import Finding
from litemill.errors import first_line
from litemill.tasks import Decisions, Reading, metric_of

log = logging.getLogger(__name__)

SAMPLES = 256
NOISE = 3 * (0.25 / SAMPLES) ** 0.5
"""Difference in accuracy on that many samples that is not chance: three standard errors at worst."""

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Measure:
    """How good outputs are beside labels.

    Attributes:
        value: Of outputs and labels, `[samples, …]` each: between 0 and 1.
        floor: Of labels: what the simplest answer gets.
        words: What the model does, in front of the value.
        simplest: What the simplest answer does, in front of its value.
    """

    value: Callable[[NDArray[Any], NDArray[Any]], float]
    floor: Callable[[NDArray[Any]], float]
    words: str = "is right on"
    simplest: str = "always saying one class would be on"

    @property
    def word(self) -> str:
        """The last of the words: it stands in front of every value."""
        return self.words.rpartition(" ")[2]


def measure_of(decide: Decisions, reading: Reading) -> Measure:
    """What a task's outputs are measured by: the share of right decisions, of a detector its mean average precision."""
    task = decide.task
    if task.labelled:
        return Measure(
            lambda outputs, labels: _accuracy(decide(outputs), labels),
            lambda labels: _majority(labels, by_column=task.columns),
        )

    def value(outputs: NDArray[Any], labels: NDArray[Any]) -> float:
        found = task.outcomes(outputs, outputs, labels, replace(reading, metric="map50"))
        return metric_of("map50").function()(found.outcome, found.target)

    words = "has a mean average precision (at .5) of"
    return Measure(value, lambda labels: 0.0, words, "finding nothing has one of")


def examine_scaling(
    source: Source, spec: DataSpec, predict: Predict, measure: Measure, *, only_configured: bool = False
) -> list[Finding]:
    """How good the model is as configured, against the simplest answer, and with the usual preprocessings.

    Args:
        source: The data, raw.
        spec: With the preprocessing to judge.
        predict: The source model's outputs, `[samples, …]` in and out.
        measure: How good outputs are.
        only_configured: Try no other preprocessing: the model's inputs are no quantities that could be scaled.
    """
    test = source.splits["test"]
    index = balanced(test.strata, SAMPLES, np.random.default_rng(0))
    raw, labels = np.concatenate(list(test.read(index))), test.targets[index]
    configured, floor = measure.value(predict(model_inputs(raw, spec)), labels), measure.floor(labels)
    tried = [] if only_configured else list(_tried(raw, spec, lambda x: measure.value(predict(x), labels)))
    best, place, better = max(tried, key=lambda found: found[0], default=(configured, "", Preprocessing()))
    worth, samples = f"the model {measure.words} {configured:.1%} of", f"{len(labels)} test samples"
    if best > configured + NOISE:
        what = f"{worth} {samples}, but {measure.word} {best:.1%} with another preprocessing"
        return [Finding(level="error", what=what, fix=f"Set {place}: {_written(better)}")]
    if configured <= floor + NOISE:
        what = f"{worth} samples, {measure.simplest} {floor:.1%}"
        fix = "check the order of the classes and that the model is trained"
        fix = f"None of the usual preprocessings helps: {fix}" if tried else fix.capitalize()
        return [Finding(level="error", what=what, fix=fix)]
    what = f"{worth} {samples}; {measure.simplest} {floor:.1%}"
    return [Finding(level="ok", what=what + (", and no usual preprocessing does better" if tried else ""))]


def _tried(
    raw: NDArray[np.generic], spec: DataSpec, value: Callable[[NDArray[Any]], float]
) -> Iterator[tuple[float, str, Preprocessing]]:
    """The value with each of the usual preprocessings, its key and itself; one that the model refuses is left out."""
    for other, place, own in others(raw, spec):
        try:
            yield value(model_inputs(raw, other)), place, own
        except Exception as error:  # of the model: it was not made for such inputs
            log.info("the model refuses %s: %s", own, first_line(error))


def others(raw: NDArray[np.generic], spec: DataSpec) -> Iterator[tuple[DataSpec, str, Preprocessing]]:
    """The usual preprocessings in place of the configured one; of several inputs one at a time.

    Yields:
        The changed data section, the key that changed, and what it is now.
    """
    if not spec.inputs:
        for other in usual(raw, spec.preprocessing):
            yield spec.model_copy(update={"preprocessing": other}), "data.preprocessing", other
    for name, own in spec.inputs.items():
        for other in usual(named(raw)[name], own):
            yield spec.model_copy(update={"inputs": spec.inputs | {name: other}}), f"data.inputs.{name}", other


def usual(raw: NDArray[np.generic], now: Preprocessing) -> Iterator[Preprocessing]:
    """The preprocessings that models are usually trained with, for raw samples of that range.

    None at all, to [0, 1], to [−1, 1], mean 0 and deviation 1 by channel (of these samples), ImageNet's mean and
    deviation; with three channels each in both orders.
    """
    top = 255.0 if raw.dtype == np.uint8 and raw.max() > 16 else float(np.abs(raw.astype(np.float64)).max()) or 1.0
    spread = raw.reshape(-1, raw.shape[-1]).astype(np.float64)
    choices: list[dict[str, Any]] = [{}, {"scale": 1 / top}, {"scale": 2 / top, "offset": -1.0}]
    if top <= 1.0:
        choices.append({"scale": 255.0})
    if spread.std() > 0:
        choices.append({"mean": [round(float(spread.mean()), 6)], "std": [round(float(spread.std()), 6)]})
    if raw.shape[-1] == 3:
        imagenet = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
        choices += [{"scale": 1 / top, **imagenet}, {"mean": [103.939, 116.779, 123.68], "channel_order": "bgr"}]
        choices += [{**choice, "channel_order": "bgr"} for choice in choices if "channel_order" not in choice]
    for choice in choices:
        yield Preprocessing(color=now.color, resize=now.resize, **choice)


def _accuracy(decisions: NDArray[Any], labels: NDArray[Any]) -> float:
    """Share of the decisions that are right, of those whose label is known."""
    known = labels >= 0
    return float(np.mean(decisions.reshape(labels.shape)[known] == labels[known])) if known.any() else 0.0


def _majority(labels: NDArray[Any], *, by_column: bool) -> float:
    """The accuracy of the commonest answer; of labels that are decided one by one, of the commonest for each."""
    columns = labels.reshape(len(labels), -1).T if by_column else [labels.ravel()]
    known = [column[column >= 0] for column in columns]
    total = sum(len(column) for column in known)
    return float(sum(np.bincount(column).max() for column in known if len(column)) / total) if total else 0.0


def _written(spec: Preprocessing) -> str:
    """As a user writes it: what differs from the default, sizes and colour aside."""
    values = spec.model_dump(exclude_defaults=True, exclude={"resize", "color"})
    return "{" + ", ".join(f"{key}: {value}" for key, value in values.items()) + "}"
