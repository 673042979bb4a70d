"""Whether a data set's samples are what a model takes, and its judged output one that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from litemill.errors import InputError, nearest
from litemill.models.facts import ModelFacts, Shape
from litemill.tasks.joined import parts_of

NO_INPUTS: Mapping[str, Any] = {}


def check_fit(
    facts: ModelFacts, sample_shape: tuple[int, ...], data: str, inputs: Mapping[str, Any] = NO_INPUTS
) -> None:
    """Refuse a data set whose samples the model cannot take.

    Args:
        facts: Of the model.
        sample_shape: Of one sample of the data.
        data: How to name the data set.
        inputs: Shape of a sample by input, of data with several.

    Raises:
        InputError: Another rank or size, or other inputs.
    """
    if inputs or len(facts.inputs) > 1:
        _check_inputs(facts, inputs, data)
        return
    shape = facts.input_shape
    if shape is None or _takes(shape, sample_shape):
        return
    wanted = [size if size is not None else "any" for size in shape]
    fix = "Add the channel axis to the data: x[..., None]" if shape == (*sample_shape, 1) else ""
    what = f"takes samples of shape {wanted}, but those of {data} are {list(sample_shape)}".replace("'", "")
    raise InputError(what, where=str(facts.path), fix=fix)


def _takes(shape: Shape, sample_shape: Sequence[int]) -> bool:
    fits = (size in (None, given) for size, given in zip(shape, sample_shape, strict=False))
    return len(shape) == len(sample_shape) and all(fits)


def _check_inputs(facts: ModelFacts, inputs: Mapping[str, Any], data: str) -> None:
    """Refuse data that has other inputs than the model, or of other shapes."""
    if not facts.inputs:
        return
    names = ", ".join(sorted(facts.input_names)) or "names the file does not say"
    if set(inputs) != set(facts.input_names) and not (inputs and not facts.input_names):
        message = f"{len(inputs)}: {', '.join(sorted(inputs))}" if inputs else "one"
        what = f"has {len(facts.inputs)} input{'s' * (len(facts.inputs) > 1)} ({names}), {data} {message}"
        raise InputError(what, where=str(facts.path), fix="Name each input of the model in data.inputs")
    for name, shape in zip(facts.input_names, facts.inputs, strict=False):
        if not _takes(shape, inputs[name]):
            wanted = [size if size is not None else "any" for size in shape]
            what = f"input {name!r} takes samples of shape {wanted}, but those of {data} are {list(inputs[name])}"
            raise InputError(what.replace("'any'", "any"), where=str(facts.path))


Judged = tuple[int, ...]
"""Positions of the outputs that are judged: of one, or of several side by side."""


def judged_positions(names: Sequence[str], output: str, path: Path) -> Judged:
    """Positions of the judged output, or of those that are judged together (see `litemill.tasks.joined`).

    Raises:
        InputError: No such output, or there are several and none is named.
    """
    found = parts_of(output, names) if output else []
    for part in found:
        if part not in names:
            what = f"has no output {part!r}; {nearest(part, list(names))}"
            raise InputError(what, where=str(path), fix="data.output or data.detection names it")
    if found:
        return tuple(list(names).index(part) for part in found)
    if len(names) > 1:
        fix = f"Say which is judged, e.g. data.output: {names[0]}"
        raise InputError(f"has {len(names)} outputs: {', '.join(names)}", where=str(path), fix=fix)
    return (0,)
