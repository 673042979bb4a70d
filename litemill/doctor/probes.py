"""What the doctor tries on the loaded model. Each probe is tried by itself: what one cannot do costs no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from litemill.compress.layers import takes_numbers_as_they_are
from litemill.config.run import DataSpec, ModelSpec, RunSpec, Training
from litemill.config.steps import Step
from litemill.data.checks import open_source
from litemill.data.source import Source, SourceFacts
from litemill.doctor.findings import Diagnosis, Finding
from litemill.doctor.layers import (
    examine_layers,
    examine_preprocessing_layers,
    examine_recipes,
    examine_rewrites,
)
from litemill.doctor.outputs import examine_outputs
from litemill.models.fit import check_fit
from litemill.models.rebuild.loaded import with_layers
from litemill.models.source import LoadedModel, load_source


class ProbeJob(BaseModel):
    """What the probing process is given.

    Attributes:
        name: Of the probe.
        path: Where the model is.
        model: The source model, as the config has it.
        data: The data section, fitted to the model.
        recipes: Steps by recipe.
        seed: Of every draw.
        facts: What is known of the data.
        out: The JSON file for what is found.
        loaded: An empty file that says that the model could be loaded.
    """

    name: str
    path: Path
    model: ModelSpec
    data: DataSpec
    recipes: dict[str, list[Step]]
    seed: int
    facts: SourceFacts
    out: Path
    loaded: Path


@dataclass(frozen=True)
class Patient:
    """The loaded model beside the run it is for."""

    model: LoadedModel
    spec: RunSpec
    facts: SourceFacts

    @cached_property
    def data(self) -> Source:
        """The data, raw."""
        return open_source(self.spec.data, self.spec.training.seed)

    @property
    def steps(self) -> list[Step]:
        """The train-aware steps that the recipes ask for."""
        return [step for steps in self.spec.recipes.values() for step in steps if not step.is_scheme]

    def asks_for(self, name: str) -> bool:
        """Whether a recipe has a step."""
        return any(step.name == name for step in self.steps)


class Probe(NamedTuple):
    """One thing to try: what it is called in a sentence, and how it is done."""

    title: str
    examine: Callable[[Patient], Diagnosis]


LOADING = "model"
"""The probe on which all others depend."""


def load_patient(job: ProbeJob) -> Patient:
    """Load the model of a job.

    Raises:
        InputError: It cannot be loaded, or does not fit the data.
    """
    model, trains = job.model, any(not step.is_scheme for steps in job.recipes.values() for step in steps)
    source = load_source(
        job.path, allow_unsafe=model.allow_unsafe, from_quantized=model.from_quantized, output=job.data.output
    )
    check_fit(source.facts, job.facts.input_shape, job.data.uri or job.data.kind, job.facts.inputs)
    if source.facts.format == "tflite" and trains:
        source = with_layers(source, list(job.facts.inputs), batch_norm=model.restore_batch_norm)
    training = Training(seed=job.seed)
    return Patient(
        source, RunSpec(name="run", model=job.model, data=job.data, training=training, recipes=job.recipes), job.facts
    )


def _model(patient: Patient) -> Diagnosis:
    return Diagnosis(findings=[Finding(level="warning", what=note) for note in patient.model.notes])


def _outputs(patient: Patient) -> Diagnosis:
    fixed = patient.model.keras is not None and takes_numbers_as_they_are(patient.model.keras)
    data, section = patient.data, patient.spec.data
    return Diagnosis(findings=examine_outputs(data, section, patient.facts, patient.model, only_configured=fixed))


def _layers(patient: Patient) -> Diagnosis:
    if patient.model.keras is None:
        return Diagnosis()
    return Diagnosis(layers=examine_layers(patient.model.keras, {step.name for step in patient.steps}))


def _preprocessing(patient: Patient) -> Diagnosis:
    if patient.model.keras is None:
        return Diagnosis()
    return Diagnosis(findings=examine_preprocessing_layers(patient.model.keras, qat=patient.asks_for("qat")))


def _rewrites(patient: Patient) -> Diagnosis:
    if patient.model.keras is None or not patient.asks_for("qat"):
        return Diagnosis()
    return Diagnosis(findings=examine_rewrites(patient.model.keras))


def _recipes(patient: Patient) -> Diagnosis:
    return Diagnosis(recipes=examine_recipes(patient.model, patient.spec))


PROBES: Mapping[str, Probe] = {
    LOADING: Probe("the model", _model),
    "outputs": Probe("whether the outputs are right", _outputs),
    "preprocessing": Probe("layers that preprocess", _preprocessing),
    "rewrites": Probe("layers that qat rewrites", _rewrites),
    "layers": Probe("which step takes which layer", _layers),
    "recipes": Probe("which recipes can work", _recipes),
}
"""In the order of the diagnosis."""
