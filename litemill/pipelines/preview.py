"""What a run would do, as data: the tasks by name, and the recipes that each model is delivered by."""

from __future__ import annotations

from pydantic import BaseModel, Field

from litemill.config.names import slug
from litemill.config.run import RunSpec
from litemill.evidence.base import Evidence
from litemill.pipelines.plan import PlannedModel, plan, written


class PreviewedModel(BaseModel):
    """A model that a run makes."""

    name: str
    made_from: str = Field("", description="the model that its step starts from; empty for the source")
    step: str = Field("", description="as a config has it; empty for the source")
    recipes: dict[str, str] = Field(description="delivered from it: name to its steps")
    tasks: list[str] = Field(description="that deliver its recipes")


class Preview(Evidence):
    """What a run would do."""

    name: str
    targets: list[str]
    objective: str
    budget: list[str] = Field(description="the limits in words")
    confidence: float = Field(description="of all intervals of the gate together")
    models: list[PreviewedModel] = Field(description="parents first")
    tasks: list[str] = Field(description="all of the run, those of recipes included")


def preview(spec: RunSpec) -> Preview:
    """Say what a run would do."""
    models = [_model(spec, planned) for planned in plan(spec).walk()]
    first = ["start-run", "doctor", "prepare-data", "import-model", "evaluate-baseline"]
    rival = (
        ["champion", *(f"{task}-champion" for task in judging_tasks(spec))] if spec.tracking.registered_model else []
    )
    made = [task for model in models for task in [model.name] * bool(model.step) + model.tasks]
    return Preview(
        name=spec.name,
        targets=[target.name for target in spec.targets],
        objective=str(spec.objective),
        budget=spec.budget.phrases(),
        confidence=spec.budget.confidence,
        models=models,
        tasks=[
            *first,
            *made,
            *rival * bool(spec.tracking.registered_model),
            "compare",
            *["release"] * bool(spec.release),
            "finish-run",
        ],
    )


def delivery_tasks(spec: RunSpec, planned: PlannedModel) -> list[str]:
    """The components that deliver the recipes of a model, in their order."""
    if not planned.recipes:
        return []
    made = ["ptq"] * bool(planned.uncalibrated) + ["int8-convert"] * bool(planned.calibrated)
    return [*made, *judging_tasks(spec)]


def judging_tasks(spec: RunSpec) -> list[str]:
    """The components that judge a bundle, in their order."""
    return ["evaluate", *(f"benchmark-{slug(target.name)}" for target in spec.targets), "log-variants"]


def _model(spec: RunSpec, planned: PlannedModel) -> PreviewedModel:
    return PreviewedModel(
        name=planned.name,
        made_from=planned.parent.name if planned.parent else "",
        step=written([planned.step]) if planned.step else "",
        recipes={name: written(steps) for name, steps in planned.recipes.items()},
        tasks=[f"{task}-{planned.name}" for task in delivery_tasks(spec, planned)],
    )
