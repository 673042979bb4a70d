"""Store the repeated weights of any int8 `.tflite` as look-up tables that microcontrollers decode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from litemill.evidence.lut import LutReport
from litemill.slim.lut_files import lut_file
from litemill.slim.rewrite import DEFAULT_KEEP


def lut(
    source: str | Path,
    *,
    out: str | Path,
    max_arena: int | None = None,
    keep: Sequence[str] = tuple(DEFAULT_KEEP),
    samples: str | Path | None = None,
) -> LutReport:
    """Write a copy of an int8 `.tflite` for TensorFlow Lite for Microcontrollers whose repeated weights are tables.

    LiteRT does not run that copy: it is for TFLM, beside the plain file. Its outputs there are proved to be equal bit
    for bit, and it is slimmed.

    Args:
        source: The file.
        out: The file to write; it must not exist yet. It is not written where nothing is gained.
        max_arena: Bytes that its arena may have: weights are decoded into it. Without a limit it may grow by as many
            bytes as the file shrinks.
        keep: What to keep of `names` (of inner tensors), `signatures` and `metadata`.
        samples: A `.npy` file of float inputs `[samples, …]` to compare outputs on; random inputs without it.

    Returns:
        Whether there is such a file (`applied`) or why not (`reason`), bytes and arenas before and after, which weights
        are tables, and why others are not.

    Raises:
        InputError: `source` is not a `.tflite`, or is damaged.
        ConfigError: `out` exists already, `keep` names something else, or `max_arena` is not a number of bytes.
        LitemillError: tflite-micro is not installed.

    Example:
        >>> import litemill as lm
        >>> report = lm.lut("variants/small/model.tflite", out="small.tflm.tflite")
        >>> report.applied, report.reason
        (False, 'no int8 weights that tables make smaller')
    """
    path = None if samples is None else Path(samples)
    return lut_file(Path(source), Path(out), keep=keep, samples=path, arena_limit=max_arena)
