"""Measure every variant of a bundle where it will run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from litemill.benchmark import benchmark_bundle, check_target
from litemill.config.targets import TargetSpec
from litemill.evidence.display import ByRecipe
from litemill.evidence.outcome import Measurement


def benchmark(
    target: str | TargetSpec | Mapping[str, Any],
    variants: str | Path,
    *,
    baseline: str | Path,
    dataset: str | Path,
    out: str | Path,
    champion: str | Path | None = None,
) -> ByRecipe[Measurement]:
    """Measure a bundle on a target, interleaved with the float32 baseline in one session.

    Args:
        target: A name such as `"host"`, `"tflm"`, `"ssh://pi"`, or a mapping with `device` and its options, as a run
            config has it.
        variants: Folder that `convert` wrote.
        baseline: Folder with the float32 baseline, from `import_model`: every ratio refers to it.
        dataset: Folder that `prepare_data` wrote; a few of its test samples show whether outputs are right there.
        out: Folder to write: one folder a recipe with `measurement.json`.
        champion: Folder that `champion` wrote: measured in the same session, for a ratio to it.

    Returns:
        The measurement of each variant by recipe. What does not work on the target is `failed` with its reason; so
        are all of them where the target cannot be reached.

    Raises:
        ConfigError: There is no such target, or it does not take such options.
        InputError: A bundle or the data set cannot be read.

    Example:
        >>> import litemill as lm
        >>> measured = lm.benchmark(
        ...     {"device": "host", "seconds": 0.2}, "baseline", baseline="baseline", dataset="data", out="host"
        ... )
        >>> measured["baseline"].kind, measured["baseline"].latency_ms["p50"] > 0
        ('measured', True)
    """
    spec = check_target(dict(target) if isinstance(target, Mapping) else target)
    rival = None if champion is None else Path(champion)
    return ByRecipe(benchmark_bundle(spec, Path(variants), Path(baseline), Path(dataset), Path(out), champion=rival))
