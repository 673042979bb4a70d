"""`diagnose`: everything that can be told of a run in under a minute, before any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from litemill.artifacts.files import write_text
from litemill.artifacts.storage import fetch
from litemill.config.run import DataSpec, ModelSpec, RunSpec, Training
from litemill.config.steps import Step
from litemill.data.checks import check_source, open_source
from litemill.doctor.findings import Diagnosis, Finding, to_markdown
from litemill.doctor.layers import examine_layers, examine_preprocessing_layers, examine_recipes, examine_rewrites
from litemill.doctor.samples import examine_samples
from litemill.doctor.scaling import examine_scaling
from litemill.errors import InputError
from litemill.models.peek import check_fit, peek
from litemill.models.source import load_source
from litemill.stages.prepare import fitted


def diagnose(spec: RunSpec) -> Diagnosis:
    """Examine a run's data, model and recipes.

    Raises:
        InputError: The data or the model can't be used at all.
    """
    path = fetch(spec.model.uri)
    section = fitted(spec.data, peek(path, allow_unsafe=spec.model.allow_unsafe))
    facts = check_source(section)
    data = open_source(section, spec.training.seed)
    source = load_source(path, allow_unsafe=spec.model.allow_unsafe, output=section.output)
    check_fit(source.facts, facts.input_shape, section.uri or section.kind, facts.inputs)
    findings = [Finding(level="warning", what=warning) for warning in facts.warnings]
    findings += [Finding(level="warning", what=note) for note in source.notes]
    findings += examine_samples(data, section)
    if section.task in ("classification", "binary"):
        findings += examine_scaling(data, section, source.predict)
    if source.keras is not None:
        findings += examine_preprocessing_layers(source.keras) + examine_rewrites(source.keras)
    return Diagnosis(
        findings=findings,
        layers=examine_layers(source.keras) if source.keras is not None else [],
        recipes=examine_recipes(source, spec),
    )


def write_diagnosis(
    model: ModelSpec, data: DataSpec, recipes: Mapping[str, Sequence[Step | dict[str, Any]]], seed: int, out: Path
) -> Diagnosis:
    """Examine a run and leave what was found as a Markdown page. Sources that can't be used are a finding too.

    Args:
        model: The source model.
        data: The data section of the run.
        recipes: Steps by recipe name, as `Step` or its plain data.
        seed: Of every draw.
        out: The file to write.
    """
    steps = {name: [Step.model_validate(step) for step in written] for name, written in recipes.items()}
    spec = RunSpec(name="run", model=model, data=data, training=Training(seed=seed), recipes=steps)
    try:
        diagnosis = diagnose(spec)
    except InputError as error:
        # The task that needs the source fails with the same words; here they are the diagnosis.
        diagnosis = Diagnosis(findings=[Finding(level="error", what=str(error))])
    write_text(out, to_markdown(diagnosis))
    return diagnosis
