"""The Kubeflow pipeline of a run config, unrolled into named tasks."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from kfp import dsl, kubernetes
from kfp.dsl.base_component import BaseComponent

from litemill.components.champion import champion
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
from litemill.components.register import register
from litemill.components.release import release
from litemill.components.start_run import start_run
from litemill.config.run import CHAMPION, NO_LIMIT, RunSpec
from litemill.pipelines.deliver import build_delivery, judge, plain_recipes
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

AddTask = Callable[..., Any]
"""Adds a task of a component to the pipeline being built, under a name of its own: see `add_task`."""


def build_pipeline(spec: RunSpec, setup: TaskSetup = no_setup) -> BaseComponent:
    """Build the pipeline of a run config.

    Args:
        spec: The run config.
        setup: Called with the component's name and each of its tasks.

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
        limits = {"max_accuracy_drop": max_accuracy_drop, "max_size_bytes": max_size_bytes}
        closing = _close(spec, add, experiment, limits)
        with dsl.ExitHandler(closing, name="run"):
            begun = _begin(spec, add, model_uri, data_uri, experiment)
            logged = _make(spec, add, deliveries, begun, source, begun.original, epochs)
            logged += _judge_champion(spec, add, begun)
            _end(spec, add, begun, experiment, logged, limits)

    return shrink(pipeline)


def _close(spec: RunSpec, add: AddTask, experiment: str, limits: Mapping[str, Any]) -> dsl.PipelineTask:
    """Add the exit task, which knows what should have been compared, and where each webhook's address is."""
    planned = {
        "recipes": plain_recipes(spec.recipes),
        "budget": _plain(spec)["budget"],
        "objective": spec.objective,
        "seed": spec.training.seed,
    }
    told = [
        {"kind": hook.kind, "on": list(hook.on), "variable": hook.variable(place)}
        for place, hook in enumerate(spec.notify)
    ]
    wanted: dict[str, Any] = {"planned": planned, **limits} | ({"notify": told} if told else {})
    job = dsl.PIPELINE_JOB_ID_PLACEHOLDER
    closing: dsl.PipelineTask = add(finish_run, "finish-run", name=experiment, pipeline_run_id=job, **wanted)
    for place, hook in enumerate(spec.notify):
        if hook.secret:
            kubernetes.use_secret_as_env(closing, hook.secret.name, {hook.secret.key: hook.variable(place)})
    return closing


class _Begun(NamedTuple):
    """What every branch of the pipeline starts from: outputs of its first tasks."""

    run_id: Any
    diagnosis: Any
    dataset: Any
    original: Any
    baseline: Any
    reference: Any
    champion: dict[str, Any]
    """What every delivery gets besides: the champion, where the config names a registered model."""
    version: dict[str, Any]
    """The champion's version, likewise."""


def _begin(spec: RunSpec, add: AddTask, model_uri: str, data_uri: str, experiment: str) -> _Begun:
    """Open the run, examine what is to come, prepare the data, import the model and evaluate its baseline."""
    started = add(
        start_run,
        "start-run",
        name=experiment,
        model_uri=model_uri,
        data_uri=data_uri,
        settings=_plain(spec, {"recipes", "targets", "training", "budget", "objective"}),
        pipeline_run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        **_registered(spec),
    )
    model_digest, data_digest = started.outputs["model_sha256"], started.outputs["data_sha256"]
    trust = {"allow_unsafe": spec.model.allow_unsafe, "from_quantized": spec.model.from_quantized}
    source = {"model_uri": model_uri, "model_sha256": model_digest, **trust}
    examined = add(
        doctor,
        "doctor",
        **source,
        data=_plain(spec)["data"],
        data_uri=data_uri,
        data_sha256=data_digest,
        recipes=plain_recipes(spec.recipes),
        seed=spec.training.seed,
        restore_batch_norm=spec.model.restore_batch_norm,
    )
    dataset = add(
        prepare_data,
        "prepare-data",
        data=_plain(spec)["data"],
        uri=data_uri,
        sha256=data_digest,
        seed=spec.training.seed,
        **source,
    ).outputs["dataset"]
    imported = add(
        import_model,
        "import-model",
        uri=model_uri,
        sha256=model_digest,
        **trust,
        dataset=dataset,
        restore_batch_norm=spec.model.restore_batch_norm,
        trains=spec.trains,
    ).after(examined)  # the doctor's findings are there before anything trains; the tasks share no data
    baseline, kernels = imported.outputs["baseline"], spec.evaluation.kernels
    judged = add(evaluate, "evaluate-baseline", variants=baseline, dataset=dataset, kernels=kernels)
    return _Begun(
        run_id=started.outputs["run_id"],
        diagnosis=examined.outputs["diagnosis"],
        dataset=dataset,
        original=imported.outputs["model"],
        baseline=baseline,
        reference=judged.outputs["evaluation"],
        champion=_fetched(spec, add, started),
        version={"champion_version": started.outputs["champion_version"]} if _registered(spec) else {},
    )


def _registered(spec: RunSpec) -> dict[str, str]:
    name = spec.tracking.registered_model
    return {"registered_model": name} if name else {}


def _fetched(spec: RunSpec, add: AddTask, started: Any) -> dict[str, Any]:
    """The task that fetches the champion as it was when the run began, as an argument of the deliveries."""
    if not spec.tracking.registered_model:
        return {}
    known = {"version": started.outputs["champion_version"], "sha256": started.outputs["champion_sha256"]}
    return {CHAMPION: add(champion, CHAMPION, **_registered(spec), **known).outputs["champion"]}


def _judge_champion(spec: RunSpec, add: AddTask, begun: _Begun) -> list[Any]:
    """Evaluate, measure and log the champion like a variant; returns the id of its run, if there is one."""
    if not begun.champion:
        return []
    shared = {"dataset": begun.dataset, "baseline": begun.baseline, "reference": begun.reference}
    return [judge(spec, add, CHAMPION, begun.champion[CHAMPION], **shared, run_id=begun.run_id)]


def _make(
    spec: RunSpec,
    add: AddTask,
    deliveries: Mapping[str, BaseComponent],
    begun: _Begun,
    planned: PlannedModel,
    model: Any,
    epochs: int,
) -> list[Any]:
    """Deliver a model and all that come from it; return the outputs of the deliveries."""
    logged = []
    if planned.recipes:
        delivered = deliveries[planned.name](
            model=model,
            dataset=begun.dataset,
            baseline=begun.baseline,
            reference=begun.reference,
            run_id=begun.run_id,
            **begun.champion,
        )
        logged.append(delivered.outputs["Output"])
    for child in planned.children:
        trained = add(
            TRAINERS[child.made_by.name],
            child.name,
            model=model,
            source=begun.original,
            dataset=begun.dataset,
            options=dict(child.made_by.options),
            training=_plain(spec)["training"],
            epochs=epochs,
        )
        logged += _make(spec, add, deliveries, begun, child, next(iter(trained.outputs.values())), epochs)
    return logged


def _end(
    spec: RunSpec, add: AddTask, begun: _Begun, experiment: str, logged: list[Any], limits: Mapping[str, Any]
) -> None:
    """Compare all variants; where the gate passes, register the winner and release it, as far as the config says so."""
    compared = add(
        compare,
        "compare",
        name=experiment,
        run_id=begun.run_id,
        run_ids=logged,
        budget=_plain(spec)["budget"],
        objective=spec.objective,
        diagnosis=begun.diagnosis,
        reference=begun.reference,
        **_registered(spec),
        **begun.version,
        **limits,
    )
    if spec.release or spec.tracking.registered_model:
        with dsl.If(compared.outputs["Output"] == "pass", name="gate-passed"):
            _ship(spec, add, compared.outputs["results"], begun.run_id)


def _ship(spec: RunSpec, add: AddTask, results: Any, run_id: Any) -> None:
    """Register the winner, then release it."""
    registered = None
    if name := spec.tracking.registered_model:
        wanted = {"registered_model": name, "promote": spec.tracking.promote}
        registered = add(register, "register", results=results, run_id=run_id, **wanted)
    if spec.release:
        released = add(release, "release", results=results, run_id=run_id, **spec.release.model_dump(mode="json"))
        if registered:
            released.after(registered)


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
