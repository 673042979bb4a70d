"""Weight clustering during fine-tuning, on TFMOT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litemill.compress.batch_norm import refresh_batch_norm
from litemill.compress.layers import (
    KERNELS,
    Choice,
    choose_layers,
    copy_model,
    kernel,
    measure_layers,
    weighted_layers,
    wrap_layers,
)
from litemill.compress.work import Done, Work
from litemill.config.steps import ClusterOptions
from litemill.errors import StepFailed
from litemill.evidence.training import (
    SPARSITY_TOLERANCE,
    ClusterFindings,
    KernelFindings,
    PruneFindings,
    TrainingFindings,
)

INITIALIZATIONS = {
    "kmeans++": "KMEANS_PLUS_PLUS",
    "linear": "LINEAR",
    "density": "DENSITY_BASED",
    "random": "RANDOM",
}
"""Our names and TFMOT's."""


def cluster(work: Work, options: ClusterOptions) -> Done:
    """Fine-tune while the weights of each layer share a few values (Han, Mao & Dally, 2016).

    https://arxiv.org/abs/1510.00149. After `prune` one of the values is zero and the zeros stay.

    Args:
        work: The model and its training.
        options: Number of clusters, initialisation, layers.

    Returns:
        The clustered model and the distinct values of each layer.

    Raises:
        StepFailed: No layer can be clustered, or a layer has more values than asked for, or lost zeros.
    """
    from tensorflow_model_optimization.clustering.keras import CentroidInitialization
    from tensorflow_model_optimization.python.core.clustering.keras.cluster_wrapper import ClusterWeights

    earlier = work.did("prune")
    pruned = earlier.found(PruneFindings).layers if earlier else {}
    choice = choose_layers(work.model, options, _unfit(work.model, options))

    def wrap(layer: Any) -> Any:
        # not by cluster_weights: it takes a convolution without bias for too small to be clustered by channel
        return ClusterWeights(
            layer,
            options.clusters,
            CentroidInitialization[INITIALIZATIONS[options.initialization]],
            preserve_sparsity=layer.name in pruned,
            cluster_per_channel=options.per_channel,
        )

    wrapped = wrap_layers(copy_model(work.model), choice.touched, wrap)
    measured = work.fine_tune(wrapped)
    clustered = _strip(wrapped)
    refresh_batch_norm(clustered, work.batches)
    return _proved(clustered, choice, options, pruned, measured)


def _strip(wrapped: Any) -> Any:
    from tensorflow_model_optimization.clustering import keras as clustering

    return clustering.strip_clustering(wrapped)


def _unfit(model: Any, options: ClusterOptions) -> dict[str, str]:
    """Layers whose weights are hardly more than the clusters, which TFMOT leaves alone with a warning only."""
    unfit = {}
    for layer in weighted_layers(model):
        if type(layer).__name__ not in KERNELS:
            continue
        values = kernel(layer)
        by_channel = options.per_channel and type(layer).__name__ == "Conv2D"
        size = values.size // values.shape[-1] if by_channel else values.size
        if size <= options.clusters:
            where = "in each channel" if by_channel else "in it"
            unfit[layer.name] = f"only {size} weights {where} for {options.clusters} clusters"
    return unfit


def _proved(
    model: Any,
    choice: Choice,
    options: ClusterOptions,
    pruned: Mapping[str, KernelFindings],
    training: TrainingFindings,
) -> Done:
    """Hold the step to what it was asked.

    Raises:
        StepFailed: A layer has more distinct values than clusters, or fewer zeros than pruning reached.
    """
    layers = measure_layers(model, choice.touched)
    for name, found in layers.items():
        by_channel = options.per_channel and found.type == "Conv2D"
        count = found.distinct_in_channel if by_channel else found.distinct
        if count > options.clusters:
            raise StepFailed(f"layer {name} has {count} distinct weights, not {options.clusters}")
    for name, before in pruned.items():
        if name in layers and layers[name].sparsity < before.sparsity - SPARSITY_TOLERANCE:
            raise StepFailed(
                f"layer {name} lost zeros: sparsity {before.sparsity:.3f} before, {layers[name].sparsity:.3f} now"
            )
    findings = ClusterFindings(
        clusters=options.clusters,
        per_channel=options.per_channel,
        layers=layers,
        left_alone=choice.left_alone,
        training=training,
    )
    return Done(model, findings)
