"""Run every variant of a bundle over the whole test split."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from litemill.config.base import nearest
from litemill.config.data_kinds import Kernels
from litemill.errors import ConfigError
from litemill.evaluate import evaluate_bundle
from litemill.evidence.display import ByRecipe
from litemill.evidence.outcome import Evaluation


def evaluate(
    variants: str | Path,
    dataset: str | Path,
    *,
    out: str | Path,
    reference: str | Path | None = None,
    kernels: Kernels | str = "xnnpack",
) -> ByRecipe[Evaluation]:
    """Evaluate a bundle on the test split, all variants in a process of its own that may crash.

    Args:
        variants: Folder that `convert` or `import_model` (its `baseline`) wrote.
        dataset: Folder that `prepare_data` wrote.
        out: Folder to write: one folder a recipe with `evaluation.json` and the outcome of each sample.
        reference: Evaluation of the baseline on the same split: each variant is paired with it sample by sample.
            Without it there is no drop and no agreement.
        kernels: `xnnpack` predicts a phone; `reference`, many times slower, predicts a microcontroller.

    Returns:
        The evaluation of each variant by recipe; failed ones are passed on with their reason.

    Raises:
        ConfigError: There are no such kernels.
        InputError: Something is not such a folder, or the reference was evaluated on other samples.

    Example:
        >>> import litemill as lm
        >>> baseline = lm.evaluate("baseline", "data", out="baseline-evaluation")
        >>> baseline["baseline"].metric, baseline["baseline"].value > 0.8
        ('top1', True)
    """
    known: tuple[Kernels, ...] = get_args(Kernels)
    chosen = next((one for one in known if one == kernels), None)
    if chosen is None:
        raise ConfigError(f"unknown kernels {kernels!r}; {nearest(kernels, known)}", where="kernels")
    paired = None if reference is None else Path(reference)
    return ByRecipe(evaluate_bundle(Path(variants), Path(dataset), Path(out), paired, kernels=chosen))
