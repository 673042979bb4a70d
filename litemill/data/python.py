"""Data kind `python`: a function of the user's own returns the splits, for everything the other kinds don't cover."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from litemill.data.labels import targets_for, unknown
from litemill.data.source import Source, SourceSplit, reading_array
from litemill.errors import InputError
from litemill.kinds import PythonOptions
from litemill.spec import DataSpec
from litemill.storage import fetch


def open_python(spec: DataSpec, seed: int) -> Source:
    """Call the function; it returns `{"train": (x, y), "test": (x, y)}` and perhaps `"calibration": (x, y)` or `x`.

    Arrays may be memory-mapped. The function is called with `uri` (a local path) where the config has one, and with
    `data.options.arguments`.

    Raises:
        InputError: There is no such function, it fails, or what it returns has another form.
    """
    options = spec.parsed()
    if not isinstance(options, PythonOptions):
        raise InputError("names no function", where="data.options")
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


def load_function(reference: str) -> Callable[..., Any]:
    """Find `package.module:function`, also below the current folder.

    Raises:
        InputError: There is no such module or function.
    """
    module, _, name = reference.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"cannot be imported ({error})", where=reference) from None
    if not callable(found):
        raise InputError("is no function", where=reference)
    return found  # type: ignore[no-any-return]


def _split(spec: DataSpec, function: str, name: str, returned: Any) -> SourceSplit:
    where = f"{function}[{name}]"
    x, y = returned if isinstance(returned, tuple | list) and len(returned) == 2 else (returned, None)
    x = x if isinstance(x, np.ndarray) else np.asarray(x)
    if x.dtype.kind not in "buif" or x.ndim < 2:
        raise InputError(f"samples are {x.dtype} of shape {list(x.shape)}, not an array of numbers", where=where)
    if y is None and name == "calibration":
        targets = unknown(spec.task, len(x))
    else:
        targets = targets_for(spec.task, None if y is None else np.asarray(y), len(x), where)
    return SourceSplit(name, where, x.shape[1:], x.dtype, targets, reading_array(x))
