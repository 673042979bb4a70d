"""Train-aware steps as a user writes them: options, orders that can work, and what the others are told."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from litemill.config.run import Recipe, Training
from litemill.config.steps import PruneOptions, Step, parse_step

RECIPE: TypeAdapter[list[Step]] = TypeAdapter(Recipe)

PRUNE = {"prune": {"sparsity": 0.5}}


@pytest.mark.parametrize(
    "written",
    [
        ["finetune", "int8"],
        [PRUNE, "float32"],
        [PRUNE, "qat", "int8"],
        ["cluster", "qat", "int8"],
        ["finetune", PRUNE, {"cluster": {"clusters": 16}}, "qat", {"int8": {"io": "uint8"}}],
    ],
)
def test_an_order_that_can_work_is_taken(written: list[Any]) -> None:
    names = [step.name for step in RECIPE.validate_python(written)]
    assert names == [name if isinstance(name, str) else next(iter(name)) for name in written]


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        (["prune"], "the last step must be a conversion"),
        (["qat", "prune", "int8"], "'prune' cannot follow 'qat'"),
        (["qat", "finetune", "int8"], "'finetune' cannot follow 'qat'"),
        (["cluster", "prune", "int8"], "'prune' after 'cluster' would break up the clusters"),
        (["prune", "finetune", "int8"], "'finetune' after 'prune' would train the zeros away"),
        (["prune", {"prune": {"sparsity": 0.8}}, "int8"], "'prune' comes twice"),
        (["qat", "float16"], "end with 'int8', not 'float16'"),
        (["qat", "int16x8"], "end with 'int8', not 'int16x8'"),
        (["qat", {"int8": {"per_channel": False}}], "leave 'per_channel: false' out"),
        (["prune", {"cluster": {"clusters": 2}}, "int8"], "needs 3 clusters or more"),
    ],
)
def test_an_order_that_cannot_work_is_named(written: list[Any], answer: str) -> None:
    with pytest.raises(ValidationError) as raised:
        RECIPE.validate_python(written)
    assert answer in str(raised.value)


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ({"sparsity": 0.99}, "sparsity"),
        ({"sparsity": 0.05}, "sparsity"),
        ({"sparsty": 0.5}, "did you mean 'sparsity'?"),
        ({"begin": 0.7, "end": 0.5}, "must be before end"),
        ({"m_by_n": [4, 4]}, "would leave no weight"),
        ({"m_by_n": [2, 4], "sparsity": 0.8}, "is a sparsity of 0.5, not 0.8"),
        ({"m_by_n": [2, 4], "block": [1, 4]}, "two patterns"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_wrong_options_of_prune_are_named(options: dict[str, Any], answer: str) -> None:
    with pytest.raises(ValueError, match="step 'prune'") as raised:
        parse_step({"prune": options})
    assert answer in str(raised.value)


def test_numbers_that_kubeflow_made_floats_are_still_whole() -> None:
    step = parse_step({"prune": {"m_by_n": [2.0, 4.0], "epochs": 3.0}}).parsed()
    assert isinstance(step, PruneOptions)
    assert (step.m_by_n, step.epochs, step.target) == ((2, 4), 3, 0.5)


@pytest.mark.parametrize("clusters", [1, 257])
def test_clusters_have_bounds(clusters: int) -> None:
    with pytest.raises(ValueError, match="clusters"):
        parse_step({"cluster": {"clusters": clusters}})


def test_early_stop_needs_something_to_watch() -> None:
    with pytest.raises(ValidationError, match=r"training\.validation"):
        Training(early_stop=2, validation=0.0)
