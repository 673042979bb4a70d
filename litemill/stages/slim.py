"""Make any `.tflite` smaller without changing an output bit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from litemill.evidence.variant import SlimReport
from litemill.slim.files import slim_file
from litemill.slim.rewrite import DEFAULT_KEEP


def slim(
    source: str | Path,
    *,
    out: str | Path,
    keep: Sequence[str] = tuple(DEFAULT_KEEP),
    samples: str | Path | None = None,
) -> SlimReport:
    """Write a smaller copy of a `.tflite` that is proved to compute the same; a plain copy where it cannot be.

    Args:
        source: The file.
        out: The file to write; it must not exist yet.
        keep: What to keep of `names` (of inner tensors), `signatures` and `metadata`.
        samples: A `.npy` file of float inputs `[samples, …]` to compare outputs on; random inputs without it.

    Returns:
        Bytes before and after by section of the file, and what was compared.

    Raises:
        InputError: `source` is not a `.tflite`, or is damaged.
        ConfigError: `out` exists already, or `keep` names something else.

    Example:
        >>> import litemill as lm
        >>> report = lm.slim("baseline/baseline/model.tflite", out="small.tflite", keep=[])
        >>> report.after_bytes <= report.before_bytes
        True
    """
    return slim_file(Path(source), Path(out), keep=keep, samples=None if samples is None else Path(samples))
