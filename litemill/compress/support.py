"""What training can take, known without TensorFlow, so that a plan can tell before any compute."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from litemill.config.steps import QatOptions, Step, named_by
from litemill.models.facts import LayerFacts

NESTED = frozenset({"Functional", "Sequential", "Model"})
PREPROCESSING = frozenset({"Rescaling", "Normalization", "Resizing", "CenterCrop"})
"""Types of layers that preprocess inside the model; in front of all others they stay float and are no obstacle."""
OPERATORS = frozenset({"TFOpLambda", "SlicingOpLambda", "Lambda", "ClassMethod", "InstanceMethod", "InstanceProperty"})
"""Types of layers that Keras 2 makes of arithmetic and functions between layers: TFMOT cannot rebuild a model that
has one, whether it quantizes it or not."""
SUPPRESSED = "detections among which the graph suppresses neighbours (data.detection.nms: graph) cannot be trained"
WITHOUT_SUPPRESSION = "Bring the model without it, with data.detection.nms: class"
IN_LAYERS = "Write it with layers (Rescaling, Add, Multiply, Cropping2D) in place of operators and functions"
QAT_LAYERS = frozenset(
    {
        *("InputLayer", "Activation", "LeakyReLU", "ReLU", "Softmax"),
        *("Conv2D", "Conv2DTranspose", "Dense", "DepthwiseConv2D", "SeparableConv2D"),
        *("Add", "Concatenate", "BatchNormalization"),
        *("AveragePooling1D", "AveragePooling2D", "MaxPooling2D"),
        *("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D"),
        *("GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D"),
        *("Cropping1D", "Cropping2D", "Cropping3D", "UpSampling2D", "ZeroPadding1D", "ZeroPadding2D"),
        *("ActivityRegularization", "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
        *("Flatten", "Permute", "Reshape"),
    }
)
"""Types of layers that TFMOT 0.8 quantizes; BatchNormalization only right after a linear convolution or dense layer."""


def qat_obstacles(steps: Sequence[Step], layers: Sequence[LayerFacts]) -> list[str]:
    """Why the `qat` of a recipe will refuse a model, as far as its layers' types tell.

    Args:
        steps: Of the recipe.
        layers: Of the model; those of nested models after the model that holds them.

    Returns:
        One phrase for each layer that stands in the way; none where the recipe has no `qat` or lets layers stay float.
    """
    options = next((step.parsed() for step in steps if step.name == "qat"), None)
    if not isinstance(options, QatOptions):
        return []
    if options.unsupported == "float":
        return [f"{layer.name} ({layer.class_name})" for layer in layers if layer.class_name in OPERATORS]
    in_front = takewhile(lambda layer: layer.class_name in PREPROCESSING | NESTED | {"InputLayer"}, layers)
    preprocessing = [layer for layer in in_front if layer.class_name in PREPROCESSING]
    return [
        f"{layer.name} ({layer.class_name})"
        for layer in layers
        if layer.class_name not in QAT_LAYERS | NESTED
        and layer not in preprocessing
        and not named_by(options.exclude, layer.name, layer.class_name)
    ]
