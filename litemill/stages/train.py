"""Take one train-aware step: prune, cluster, quantization-aware training, or the control without compression."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from litemill.compress.train import train as take_step
from litemill.config.base import nearest
from litemill.config.run import Training
from litemill.config.steps import TRAIN_STEPS
from litemill.config.written import AnyStep, section_of, step_of
from litemill.errors import ConfigError
from litemill.evidence.sources import ModelManifest


def train(
    model: str | Path,
    dataset: str | Path,
    step: AnyStep,
    *,
    out: str | Path,
    training: Training | Mapping[str, Any] | None = None,
    source: str | Path | None = None,
) -> ModelManifest:
    """Take one train-aware step on a model.

    It trains in a process of its own. A step that cannot work, did not do what it was asked, crashed or ran out of
    memory leaves a model with status `failed` and the reason; later steps pass it on. After a native crash it goes on
    from its last epoch without oneDNN, and its record says so.

    Args:
        model: Folder of the model to start from, as `import_model` or `train` wrote it.
        dataset: Folder that `prepare_data` wrote; its train split is used.
        step: As a recipe has it: `"qat"`, or `{"prune": {"sparsity": 0.5}}`.
        out: Folder to write; it must not exist yet.
        training: The `training` section of a run config; its defaults without it.
        source: Folder of the source model, the teacher where `training` distils; `model` without it.

    Returns:
        The manifest of the model; `steps[-1].measured` says what the weights show after the step.

    Raises:
        ConfigError: The step is not a train-aware one, or an option does not fit.
        InputError: A folder is missing or cannot be read.

    Example:
        >>> import litemill as lm
        >>> pruned = lm.train(
        ...     "model", "data", {"prune": {"sparsity": 0.5}}, training={"epochs": 1, "batch_size": 64}, out="pruned"
        ... )
        >>> pruned.status, pruned.steps[-1].step
        ('ok', 'prune')
    """
    asked = step_of(step)
    if asked.is_scheme:
        what = f"{asked.name!r} converts a model and trains nothing; {nearest(asked.name, list(TRAIN_STEPS))}"
        raise ConfigError(what, where="step", fix="Give it to `convert`")
    return take_step(
        Path(model),
        Path(dataset),
        asked,
        out=Path(out),
        training=section_of(Training, training, "training"),
        source=None if source is None else Path(source),
    )
