"""Recipes unroll into models that share what they can, under names that do not depend on each other."""

from __future__ import annotations

from typing import Any

from litemill.config.run import RunSpec
from litemill.pipelines.plan import plan, written


def spec_of(recipes: dict[str, Any]) -> RunSpec:
    """A run config with these recipes."""
    return RunSpec.model_validate(
        {"name": "plan", "model": {"uri": "model.keras"}, "data": {"kind": "digits"}, "recipes": recipes}
    )


def test_recipes_with_the_same_prefix_share_its_model() -> None:
    """prune is trained once, however many schemes follow; options that default to the same are the same."""
    tree = plan(
        spec_of(
            {
                "a": [{"prune": {"sparsity": 0.5}}, "int8"],
                "b": [{"prune": {"sparsity": 0.5}}, "float16"],
                "c": [{"prune": {"sparsity": 0.5}}, "qat", "int8"],
                "d": ["float32"],
            }
        )
    )
    assert [model.name for model in tree.walk()] == ["source", "prune", "prune-qat"]
    assert {model.name: list(model.recipes) for model in tree.walk()} == {
        "source": ["d"],
        "prune": ["a", "b"],
        "prune-qat": ["c"],
    }


def test_the_same_step_with_other_options_is_another_model_named_after_its_recipe() -> None:
    """A name must not change when a recipe is added in front, or the cache would miss."""
    tree = plan(
        spec_of({"half": [{"prune": {"sparsity": 0.5}}, "int8"], "most": [{"prune": {"sparsity": 0.8}}, "int8"]})
    )
    assert [model.name for model in tree.walk()] == ["source", "prune", "prune-most"]


def test_schemes_are_parted_by_whether_they_need_data() -> None:
    """ptq converts what needs no calibration, int8_convert what does."""
    tree = plan(spec_of({"f": ["float32"], "i": ["int8"], "d": ["dynamic"], "w": ["int16x8"]}))
    assert list(tree.uncalibrated) == ["f", "d"]
    assert list(tree.calibrated) == ["i", "w"]


def test_a_recipe_reads_like_its_steps() -> None:
    """The plan shows options that were written and nothing else."""
    spec = spec_of({"p": [{"prune": {"sparsity": 0.5}}, "qat", "int8"]})
    assert written(spec.recipes["p"]) == "prune(sparsity=0.5) → qat → int8"
