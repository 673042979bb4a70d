"""Data kind `python`: a function of the user's own returns the splits, for everything the other kinds don't cover."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from litemill.artifacts.inputs import joined, row_dtype
from litemill.artifacts.storage import fetch
from litemill.config.data_kinds import PythonOptions
from litemill.config.run import DataSpec
from litemill.data.labels import targets_for, unknown
from litemill.data.source import Index, Samples, Source, SourceSplit, reading_array, rows_per_block
from litemill.errors import InputError
from litemill.plugins import load_function


def open_python(spec: DataSpec, seed: int) -> Source:
    """Call the function; it returns `{"train": (x, y), "test": (x, y)}` and perhaps `"calibration": (x, y)` or `x`.

    Of several inputs `x` is a mapping of arrays by the names in `data.inputs`.

    Arrays may be memory-mapped. The function is called with `uri` (a local path) where the config has one, and with
    `data.options.arguments`.

    Raises:
        InputError: There is no such function, it fails, or what it returns has another form.
    """
    options = PythonOptions.model_validate(spec.options)
    function = load_function(options.function)
    arguments = {**options.arguments, **({"uri": str(fetch(spec.uri))} if spec.uri else {})}
    try:
        returned = function(**arguments)
    except Exception as error:
        raise InputError(f"failed: {type(error).__name__}: {error}", where=options.function) from error
    if not isinstance(returned, Mapping) or not {"train", "test"} <= set(returned):
        what = "must return a mapping with train and test, each (x, y)"
        raise InputError(what, where=options.function)
    names = [name for name in ("train", "test", "calibration") if name in returned]
    return Source({name: _split(spec, options.function, name, returned[name]) for name in names})


def _split(spec: DataSpec, function: str, name: str, returned: Any) -> SourceSplit:
    where = f"{function}[{name}]"
    x, y = returned if isinstance(returned, tuple | list) and len(returned) == 2 else (returned, None)
    inputs = _inputs(spec, x, where)
    samples = len(next(iter(inputs.values())))
    if y is None and name == "calibration":
        targets = unknown(spec.task, samples)
    else:
        targets = targets_for(spec.task, None if y is None else np.asarray(y), samples, where)
    if not spec.inputs:
        return SourceSplit(name, where, inputs[""].shape[1:], inputs[""].dtype, targets, reading_array(inputs[""]))
    dtype = row_dtype({key: (part.dtype, part.shape[1:]) for key, part in inputs.items()})

    def read(index: Index) -> Iterator[Samples]:
        rows = rows_per_block((), dtype)
        for start in range(0, len(index), rows):
            yield joined({key: part[index[start : start + rows]] for key, part in inputs.items()})

    return SourceSplit(name, where, (), dtype, targets, read)


def _inputs(spec: DataSpec, x: Any, where: str) -> dict[str, Samples]:
    """The arrays of the model's inputs by name, in the config's order."""
    if spec.inputs and (not isinstance(x, Mapping) or set(x) != set(spec.inputs)):
        given = f"with {', '.join(sorted(x))}" if isinstance(x, Mapping) else f"but a {type(x).__name__}"
        what = f"samples are no mapping with {', '.join(sorted(spec.inputs))} (data.inputs), {given}"
        raise InputError(what.replace(", with", " but one with"), where=where)
    if not spec.inputs and isinstance(x, Mapping):
        fix = f"Name them in data.inputs: {{{', '.join(f'{name}: {{}}' for name in x)}}}"
        raise InputError(f"samples are a mapping of {len(x)} inputs", where=where, fix=fix)
    found = {}
    for name in spec.inputs or ("",):
        part = x[name] if name else x
        part = part if isinstance(part, np.ndarray) else np.asarray(part)
        of_input = f" of input {name!r}" if name else ""
        if part.dtype.kind not in "buif" or part.ndim < 2:
            message = f"samples{of_input} are {part.dtype} of shape {list(part.shape)}, not an array of numbers"
            raise InputError(message, where=where)
        found[name] = part
    if len({len(part) for part in found.values()}) > 1:
        counts = ", ".join(f"{len(part)} of {name!r}" for name, part in found.items())
        raise InputError(f"has another number of samples for each input: {counts}", where=where)
    return found
