"""The sub-pipeline of one model: convert, evaluate, benchmark on each target, log."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from litemill.components.benchmark import benchmark
from litemill.components.evaluate import evaluate
from litemill.components.int8_convert import int8_convert
from litemill.components.log_variants import log_variants
from litemill.components.ptq import ptq
from litemill.config.run import RunSpec
from litemill.config.steps import Step
from litemill.pipelines.plan import PlannedModel
from litemill.pipelines.tasks import TaskSetup, add_task, slug


def build_delivery(spec: RunSpec, planned: PlannedModel, setup: TaskSetup) -> BaseComponent:
    """Build the sub-pipeline that delivers a model; its output is the ids of the variants' MLflow runs."""
    add, name = partial(add_task, setup), planned.name

    @dsl.pipeline(name=f"deliver-{name}", description=f"Variants of {name}: {', '.join(planned.recipes)}")
    def deliver(
        model: dsl.Input[dsl.Model],
        dataset: dsl.Input[dsl.Dataset],
        baseline: dsl.Input[dsl.Artifact],
        reference: dsl.Input[dsl.Artifact],
        run_id: str,
    ) -> str:
        bundle: dict[str, Any] = {}
        converting = {
            "model": model,
            "dataset": dataset,
            "seed": spec.training.seed,
            "deploy": spec.deploy.model_dump(),
        }
        if planned.uncalibrated:
            recipes = plain_recipes(planned.uncalibrated)
            converted = add(ptq, f"ptq-{name}", recipes=recipes, **converting)
            bundle = {"bundle": converted.outputs["variants"]}
        if planned.calibrated:
            recipes = plain_recipes(planned.calibrated)
            converted = add(int8_convert, f"int8-convert-{name}", recipes=recipes, **converting, **bundle)
        variants = converted.outputs["variants"]
        judged = add(
            evaluate,
            f"evaluate-{name}",
            variants=variants,
            dataset=dataset,
            kernels=spec.evaluation.kernels,
            reference=reference,
        )
        measured = {}
        for position, target in enumerate(spec.targets, start=1):
            task = f"benchmark-{slug(target.name)}-{name}"
            timed = add(
                benchmark, task, target=target.argument(), variants=variants, baseline=baseline, dataset=dataset
            )
            measured[f"measurement_{position}"] = timed.outputs["measurement"]
        logged = add(
            log_variants,
            f"log-variants-{name}",
            run_id=run_id,
            variants=variants,
            evaluation=judged.outputs["evaluation"],
            **measured,
        )
        return logged.outputs["Output"]

    return deliver


def plain_recipes(recipes: Mapping[str, Sequence[Step]]) -> dict[str, list[dict[str, Any]]]:
    """Recipes as plain data that travels in a task's arguments."""
    return {name: [step.model_dump(mode="json") for step in steps] for name, steps in recipes.items()}
