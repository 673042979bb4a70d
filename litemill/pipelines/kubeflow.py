"""The Kubeflow pipeline of a run config, unrolled into named tasks."""

from functools import partial
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from litemill.components.cluster import cluster
from litemill.components.compare import compare
from litemill.components.doctor import doctor
from litemill.components.evaluate import evaluate
from litemill.components.finetune import finetune
from litemill.components.finish_run import finish_run
from litemill.components.import_model import import_model
from litemill.components.prepare_data import prepare_data
from litemill.components.prune import prune
from litemill.components.quantize_aware_train import quantize_aware_train
from litemill.components.release import release
from litemill.components.start_run import start_run
from litemill.config.run import NO_LIMIT, RunSpec
from litemill.pipelines.deliver import build_delivery, plain_recipes
from litemill.pipelines.plan import PlannedModel, plan, written
from litemill.pipelines.size import shrink
from litemill.pipelines.tasks import TaskSetup, add_task, no_setup, slug

TRAINERS: dict[str, BaseComponent] = {
    "prune": prune,
    "cluster": cluster,
    "qat": quantize_aware_train,
    "finetune": finetune,
}
"""The component of each train-aware step."""


def build_pipeline(spec: RunSpec, setup: TaskSetup = no_setup) -> BaseComponent:
    """Build the pipeline of a run config.

    Args:
        spec: The run config.
        dress: Called with the component's name and each of its tasks.

    Returns:
        A KFP pipeline: compile it, or call it under `kfp.local`. Its parameters are what operators change without
        compiling anew.
    """
    source, add = plan(spec), partial(add_task, setup)
    # Sub-pipelines must exist before the outer pipeline function is entered.
    deliveries = {one.name: build_delivery(spec, one, setup) for one in source.walk() if one.recipes}

    @dsl.pipeline(name=slug(spec.name), description=describe(spec))
    def pipeline(
        model_uri: str = spec.model.uri,
        data_uri: str = spec.data.uri,
        experiment: str = spec.name,
        epochs: int = spec.training.epochs,
        max_accuracy_drop: float = _limit(spec.budget.max_accuracy_drop),
        max_size_bytes: int = int(_limit(spec.budget.max_size_bytes)),
    ) -> None:
        """Compress, convert, evaluate and benchmark one trained model, and release the variant worth shipping.

        Args:
            model_uri: Address of the trained model: gs://…, s3://…, or a path that the tasks can read.
            data_uri: Address of the data; empty for a built-in set.
            experiment: Name of the MLflow experiment.
            epochs: Passes over the train split in each train-aware step.
            max_accuracy_drop: Largest accuracy drop a shipped variant may have; a negative one means no limit.
            max_size_bytes: Largest file a shipped variant may be; a negative one means no limit.
        """
        closing = add(finish_run, "finish-run", name=experiment, pipeline_run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
        with dsl.ExitHandler(closing, name="run"):
            started = add(
                start_run,
                "start-run",
                name=experiment,
                model_uri=model_uri,
                data_uri=data_uri,
                settings=_plain(spec, {"recipes", "targets", "training", "budget", "objective"}),
                pipeline_run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            )
            run_id, model_digest = started.outputs["run_id"], started.outputs["model_sha256"]
            examined = add(
                doctor,
                "doctor",
                model_uri=model_uri,
                model_sha256=model_digest,
                allow_unsafe=spec.model.allow_unsafe,
                data=_plain(spec)["data"],
                data_uri=data_uri,
                data_sha256=started.outputs["data_sha256"],
                recipes=plain_recipes(spec.recipes),
                seed=spec.training.seed,
            )
            dataset = add(
                prepare_data,
                "prepare-data",
                data=_plain(spec)["data"],
                uri=data_uri,
                sha256=started.outputs["data_sha256"],
                seed=spec.training.seed,
                model_uri=model_uri,
                model_sha256=model_digest,
                allow_unsafe=spec.model.allow_unsafe,
            ).outputs["dataset"]
            imported = add(
                import_model,
                "import-model",
                uri=model_uri,
                sha256=model_digest,
                allow_unsafe=spec.model.allow_unsafe,
                dataset=dataset,
            ).after(examined)  # what will not work is told before anything trains; the tasks share no data
            original, baseline = imported.outputs["model"], imported.outputs["baseline"]
            judged = add(
                evaluate,
                "evaluate-baseline",
                variants=baseline,
                dataset=dataset,
                kernels=spec.evaluation.kernels,
            )
            reference = judged.outputs["evaluation"]

            def make(planned: PlannedModel, model: Any) -> list[Any]:
                """Deliver a model and all that come from it; return the outputs of the deliveries."""
                logged = []
                if planned.recipes:
                    delivered = deliveries[planned.name](
                        model=model, dataset=dataset, baseline=baseline, reference=reference, run_id=run_id
                    )
                    logged.append(delivered.outputs["Output"])
                for child in planned.children:
                    step = child.made_by
                    trained = add(
                        TRAINERS[step.name],
                        child.name,
                        model=model,
                        source=original,
                        dataset=dataset,
                        options=dict(step.options),
                        training=_plain(spec)["training"],
                        epochs=epochs,
                    )
                    logged += make(child, next(iter(trained.outputs.values())))
                return logged

            compared = add(
                compare,
                "compare",
                name=experiment,
                run_id=run_id,
                run_ids=make(source, original),
                budget=_plain(spec)["budget"],
                max_accuracy_drop=max_accuracy_drop,
                max_size_bytes=max_size_bytes,
                objective=spec.objective,
                diagnosis=examined.outputs["diagnosis"],
            )
            if spec.release:
                with dsl.If(compared.outputs["Output"] == "pass", name="gate-passed"):
                    found = compared.outputs["results"]
                    add(release, "release", results=found, uri=spec.release.uri, run_id=run_id)

    return shrink(pipeline)


def describe(spec: RunSpec) -> str:
    """What the Kubeflow page says of the pipeline."""
    recipes = "; ".join(f"{name}: {written(steps)}" for name, steps in spec.recipes.items())
    targets = ", ".join(target.name for target in spec.targets)
    return f"Litemill: {len(spec.recipes)} variants of {spec.model.uri} on {targets}. {recipes}"


def _plain(spec: RunSpec, sections: set[str] | None = None) -> dict[str, Any]:
    """Sections of the config as plain data, without the empty values that Kubeflow refuses."""
    return spec.model_dump(mode="json", include=sections, exclude_none=True)


def _limit(value: float | None) -> float:
    return NO_LIMIT if value is None else value
