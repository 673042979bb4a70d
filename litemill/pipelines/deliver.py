"""The sub-pipeline of one model: convert, evaluate, benchmark on each target, log."""

from collections.abc import Callable, Mapping, Sequence
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

    def variants_of(model: Any, dataset: Any) -> Any:
        bundle: dict[str, Any] = {}
        converting = {
            "model": model,
            "dataset": dataset,
            "seed": spec.training.seed,
            "deploy": spec.delivery.model_dump(exclude_none=True),
        }
        if planned.uncalibrated:
            recipes = plain_recipes(planned.uncalibrated)
            converted = add(ptq, f"ptq-{name}", recipes=recipes, **converting)
            bundle = {"bundle": converted.outputs["variants"]}
        if planned.calibrated:
            recipes = plain_recipes(planned.calibrated)
            converted = add(int8_convert, f"int8-convert-{name}", recipes=recipes, **converting, **bundle)
        return converted.outputs["variants"]

    described = {"name": f"deliver-{name}", "description": f"Variants of {name}: {', '.join(planned.recipes)}"}
    if spec.tracking.registered_model:

        @dsl.pipeline(**described)
        def deliver_beside_champion(
            model: dsl.Input[dsl.Model],
            dataset: dsl.Input[dsl.Dataset],
            baseline: dsl.Input[dsl.Artifact],
            reference: dsl.Input[dsl.Artifact],
            run_id: str,
            champion: dsl.Input[dsl.Artifact],
        ) -> str:
            begun = {"dataset": dataset, "baseline": baseline, "reference": reference, "run_id": run_id}
            return judge(spec, add, name, variants_of(model, dataset), **begun, champion=champion)

        return deliver_beside_champion

    @dsl.pipeline(**described)
    def deliver(
        model: dsl.Input[dsl.Model],
        dataset: dsl.Input[dsl.Dataset],
        baseline: dsl.Input[dsl.Artifact],
        reference: dsl.Input[dsl.Artifact],
        run_id: str,
    ) -> str:
        begun = {"dataset": dataset, "baseline": baseline, "reference": reference, "run_id": run_id}
        return judge(spec, add, name, variants_of(model, dataset), **begun)

    return deliver


def judge(spec: RunSpec, add: Callable[..., Any], name: str, variants: Any, **begun: Any) -> Any:
    """Add the tasks that evaluate, measure and log a bundle.

    Args:
        spec: The run config.
        add: Adds a task.
        name: Of the model, or of the champion; part of the tasks' names.
        variants: The bundle.
        begun: `dataset`, `baseline`, `reference` (the baseline's evaluation), `run_id` and, where variants are measured
            beside it, `champion`.

    Returns:
        The ids of the variants' MLflow runs.
    """
    dataset, baseline = begun["dataset"], begun["baseline"]
    rival = {"champion": begun["champion"]} if "champion" in begun else {}
    judged = add(
        evaluate,
        f"evaluate-{name}",
        variants=variants,
        dataset=dataset,
        kernels=spec.evaluation.kernels,
        reference=begun["reference"],
    )
    measured = {}
    for position, target in enumerate(spec.targets, start=1):
        task = f"benchmark-{slug(target.name)}-{name}"
        timed = add(
            benchmark, task, target=target.argument(), variants=variants, baseline=baseline, dataset=dataset, **rival
        )
        measured[f"measurement_{position}"] = timed.outputs["measurement"]
    logged = add(
        log_variants,
        f"log-variants-{name}",
        run_id=begun["run_id"],
        variants=variants,
        evaluation=judged.outputs["evaluation"],
        **measured,
    )
    return logged.outputs["Output"]


def plain_recipes(recipes: Mapping[str, Sequence[Step]]) -> dict[str, list[dict[str, Any]]]:
    """Recipes as plain data that travels in a task's arguments."""
    return {name: [step.model_dump(mode="json") for step in steps] for name, steps in recipes.items()}
