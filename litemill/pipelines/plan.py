"""From a run config to the models it needs: recipes that share a prefix share its tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from litemill.config.names import slug
from litemill.config.run import RunSpec
from litemill.config.steps import Step

SOURCE = "source"


@dataclass
class PlannedModel:
    """A model the run makes: the source, or what one more train-aware step makes of another.

    Attributes:
        name: Names its tasks; as short as it can be.
        step: The step that makes it; None for the source.
        parent: The model that step starts from; None for the source.
        recipes: The recipes delivered from it: name to all of their steps.
    """

    name: str
    step: Step | None = None
    parent: PlannedModel | None = None
    children: list[PlannedModel] = field(default_factory=list)
    recipes: dict[str, list[Step]] = field(default_factory=dict)

    @property
    def made_by(self) -> Step:
        """The step that makes a model which is not the source."""
        if self.step is None:
            raise LookupError("the source model is made by no step")
        return self.step

    @property
    def uncalibrated(self) -> dict[str, list[Step]]:
        """The recipes whose conversion needs no data."""
        return {name: steps for name, steps in self.recipes.items() if not steps[-1].scheme.calibrated}

    @property
    def calibrated(self) -> dict[str, list[Step]]:
        """The recipes whose conversion needs the calibration split."""
        return {name: steps for name, steps in self.recipes.items() if steps[-1].scheme.calibrated}

    def walk(self) -> list[PlannedModel]:
        """This model and all that come from it, parents first."""
        return [self, *(one for child in self.children for one in child.walk())]


def plan(spec: RunSpec) -> PlannedModel:
    """The tree of models of a run, rooted at the source.

    A name says the steps so far (`prune-qat`). Where another model has it already (the same steps with other
    options), the recipe that asks for it is added, so that no name depends on how many such models there are.
    """
    source = PlannedModel(SOURCE)
    taken = {SOURCE}
    for recipe, steps in spec.recipes.items():
        model = source
        for step in steps[:-1]:
            model = _child(model, step, recipe, taken)
        model.recipes[recipe] = list(steps)
    return source


def _child(parent: PlannedModel, step: Step, recipe: str, taken: set[str]) -> PlannedModel:
    for child in parent.children:
        if child.step and (child.step.name, child.step.parsed()) == (step.name, step.parsed()):
            return child
    name = step.name if parent.name == SOURCE else f"{parent.name}-{step.name}"
    while name in taken:  # once, but for a recipe that is called like a step
        name = f"{name}-{slug(recipe)}"
    taken.add(name)
    child = PlannedModel(name, step, parent)
    parent.children.append(child)
    return child


def written(steps: Sequence[Step]) -> str:
    """A recipe as a user reads it: `prune(sparsity=0.5) → int8`."""
    return " → ".join(_call(step) for step in steps)


def _call(step: Step) -> str:
    options = ", ".join(f"{key}={value}" for key, value in step.options.items())
    return f"{step.name}({options})" if options else step.name
