"""What a plan can say of quantization-aware training without TensorFlow."""

from __future__ import annotations

from typing import Any

import pytest

from litemill.compress.support import QAT_LAYERS, qat_obstacles
from litemill.config.steps import parse_step
from litemill.models.backend import tensorflow
from litemill.models.facts import LayerFacts

LAYERS = [
    LayerFacts("image", "InputLayer"),
    LayerFacts("scaling", "Rescaling"),
    LayerFacts("conv", "Conv2D"),
    LayerFacts("late", "Rescaling"),
    LayerFacts("bend", "PReLU"),
]


def test_the_list_is_that_of_the_installed_tfmot() -> None:
    tensorflow()
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_registry as registry,
    )

    known = {layer.__name__ for layer in registry.Default8BitQuantizeRegistry()._layer_quantize_map}
    by_transforms = {"InputLayer", "BatchNormalization", "SeparableConv2D"}
    as_lambdas = {"SeparableConv1D"}  # which TFMOT makes Lambda layers of, and those it cannot quantize
    assert (known | by_transforms) - as_lambdas == QAT_LAYERS


@pytest.mark.parametrize(
    ("written", "obstacles"),
    [
        (["int8"], []),
        (["prune", "int8"], []),
        (["prune", "qat", "int8"], ["late (Rescaling)", "bend (PReLU)"]),
        ([{"qat": {"exclude": ["PRe*"]}}, "int8"], ["late (Rescaling)"]),
        ([{"qat": {"unsupported": "float"}}, "int8"], []),
    ],
)
def test_layers_that_stand_in_the_way_are_named(written: list[Any], obstacles: list[str]) -> None:
    assert qat_obstacles([parse_step(step) for step in written], LAYERS) == obstacles


def test_a_nested_model_is_no_obstacle_because_importing_takes_it_apart() -> None:
    nested = [LayerFacts("inner", "Sequential"), *LAYERS]
    assert qat_obstacles([parse_step("qat")], nested) == ["late (Rescaling)", "bend (PReLU)"]
