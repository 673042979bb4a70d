"""TFMOT's quantization schemes that keep zeros and clusters, decided layer by layer.

TFMOT's own registries share one weight quantizer between all layers of a kind, and the first layer without zeros
switches the zeros off for every layer after it: PCQAT becomes CQAT with a log line. Here each layer gets its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from litemill.compress.layers import FEWEST_ZEROS, distinct_by_channel, sparsity
from litemill.evidence.training import ClusterFindings


@contextmanager
def clusters_of(clustered: ClusterFindings | None) -> Iterator[None]:
    """Let TFMOT find a kernel's clusters as `cluster` made them, while it wraps a model.

    TFMOT looks for clusters in each channel of a convolution whatever was asked, so that 16 values in a kernel become
    16 trained ones in each of its channels, in a graph that loops over the channels (three times the training time).
    """
    from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import (
        cluster_preserve_quantize_registry as registry,
    )

    def in_tensor(_layer: Any, weight: Any, _data_format: Any) -> tuple[Any, Any, Any, bool]:
        centroids, index = registry.get_unique(weight)
        return centroids, len(centroids), index, False

    original = registry.get_centroids
    registry.get_centroids = original if clustered and clustered.per_channel else in_tensor
    try:
        yield
    finally:
        registry.get_centroids = original


def make_scheme(clustered: ClusterFindings | None, *, quantize_inputs: bool = True) -> Any:
    """A default 8-bit scheme whose weight quantizers keep the zeros and the clusters a kernel has.

    Args:
        clustered: What an earlier `cluster` found, or nothing.
        quantize_inputs: Whether the model's inputs are rounded too; token ids must not be.
    """
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_layout_transform as layout,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_registry as registry,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_scheme as scheme,
    )

    class PreservingRegistry(registry.Default8BitQuantizeRegistry):  # type: ignore[misc]
        def get_quantize_config(self, layer: Any) -> Any:
            config = registry.Default8BitQuantizeRegistry().get_quantize_config(layer)
            quantizer = _preserving_quantizer(layer, clustered)
            if quantizer is not None:
                config.weight_quantizer = quantizer
            return config

    class PreservingScheme(scheme.Default8BitQuantizeScheme):  # type: ignore[misc]
        def get_quantize_registry(self) -> Any:
            return PreservingRegistry()

        def get_layout_transformer(self) -> Any:
            return super().get_layout_transformer() if quantize_inputs else PlainInputs()

    class PlainInputs(layout.Default8BitQuantizeLayoutTransform):  # type: ignore[misc]
        def apply(self, model: Any, layer_quantize_map: Any) -> Any:
            with _inputs_left_alone():
                return super().apply(model, layer_quantize_map)

    return PreservingScheme()


@contextmanager
def _inputs_left_alone() -> Iterator[None]:
    """Let TFMOT find no input to quantize while it transforms a model."""
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_transforms as transforms,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.graph_transformations.transforms import (
        LayerPattern,
    )

    class NoInput(transforms.InputLayerQuantize):  # type: ignore[misc]
        def pattern(self) -> Any:
            return LayerPattern("NoSuchLayer")

    original = transforms.InputLayerQuantize
    transforms.InputLayerQuantize = NoInput
    try:
        yield
    finally:
        transforms.InputLayerQuantize = original


def _preserving_quantizer(layer: Any, clustered: ClusterFindings | None) -> Any | None:
    """The weight quantizer for a kernel with zeros or clusters, or None where it has neither."""
    from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import (
        cluster_preserve_quantize_registry as clusters,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.prune_preserve import (
        prune_preserve_quantize_registry as zeros,
    )

    kind = type(layer).__name__
    if kind not in ("Conv2D", "Dense"):
        return None
    kernel = np.asarray(layer.kernel)
    has_zeros = sparsity(kernel) >= FEWEST_ZEROS
    if _has_clusters(kind, kernel, clustered):
        by_kind = {
            "Conv2D": clusters.ClusterPreserveDefault8BitConvWeightsQuantizer,
            "Dense": clusters.ClusterPreserveDefault8BitWeightsQuantizer,
        }
        return by_kind[kind](preserve_sparsity=has_zeros)
    if has_zeros:
        return {
            "Conv2D": zeros.PrunePreserveDefault8BitConvWeightsQuantizer,
            "Dense": zeros.PrunePreserveDefault8BitWeightsQuantizer,
        }[kind]()
    return None


def _has_clusters(kind: str, kernel: Any, clustered: ClusterFindings | None) -> bool:
    if clustered is None:
        return False
    by_channel = clustered.per_channel and kind == "Conv2D"
    distinct = distinct_by_channel(kernel) if by_channel else len(np.unique(kernel))
    return distinct <= clustered.clusters
