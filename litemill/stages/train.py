"""Take one train-aware step: prune, cluster, quantization-aware training, or the control without compression."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from litemill.compress import cluster_model, finetune_model, prune_model, qat_model
from litemill.config.base import nearest
from litemill.config.run import Training
from litemill.config.steps import TRAIN_STEPS
from litemill.config.written import AnyStep, section_of, step_of
from litemill.errors import ConfigError
from litemill.evidence import ModelManifest


class TakeStep(Protocol):
    """What every train-aware step is: from the artifacts that come in to the artifact that goes out."""

    def __call__(
        self, model: Path, dataset: Path, options: Any, training: Training, out: Path, source: Path | None
    ) -> ModelManifest:
        """Take the step."""


TAKE: dict[str, TakeStep] = {
    "cluster": cluster_model,
    "finetune": finetune_model,
    "prune": prune_model,
    "qat": qat_model,
}


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

    A step that cannot work, or did not do what it was asked, leaves a model with status `failed` and the reason; later
    steps pass it on.

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
    if asked.name not in TAKE:
        what = f"{asked.name!r} converts a model and trains nothing; {nearest(asked.name, list(TRAIN_STEPS))}"
        raise ConfigError(what, where="step", fix="Give it to `convert`")
    take, options = TAKE[asked.name], asked.parsed()
    teacher = None if source is None else Path(source)
    return take(Path(model), Path(dataset), options, section_of(Training, training, "training"), Path(out), teacher)
