"""`train` under the names that components of earlier pipelines call it by."""

from __future__ import annotations

from pathlib import Path

from litemill.compress.train import train
from litemill.config.run import Training
from litemill.config.steps import ClusterOptions, FinetuneOptions, PruneOptions, QatOptions, Step, TrainOptions
from litemill.evidence import ModelManifest


def _step(name: str, options: TrainOptions) -> Step:
    return Step(name=name, options=options.model_dump(mode="json", exclude_unset=True))


def prune_model(
    model: Path, dataset: Path, options: PruneOptions, training: Training, out: Path, source: Path | None = None
) -> ModelManifest:
    """`train` with the options of `prune`."""
    return train(model, dataset, _step("prune", options), out=out, training=training, source=source)


def cluster_model(
    model: Path, dataset: Path, options: ClusterOptions, training: Training, out: Path, source: Path | None = None
) -> ModelManifest:
    """`train` with the options of `cluster`."""
    return train(model, dataset, _step("cluster", options), out=out, training=training, source=source)


def qat_model(
    model: Path, dataset: Path, options: QatOptions, training: Training, out: Path, source: Path | None = None
) -> ModelManifest:
    """`train` with the options of `qat`."""
    return train(model, dataset, _step("qat", options), out=out, training=training, source=source)


def finetune_model(
    model: Path, dataset: Path, options: FinetuneOptions, training: Training, out: Path, source: Path | None = None
) -> ModelManifest:
    """`train` with the options of `finetune`."""
    return train(model, dataset, _step("finetune", options), out=out, training=training, source=source)
