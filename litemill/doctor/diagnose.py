"""`diagnose`: everything that can be told of a run in under a minute, before any training."""

from __future__ import annotations

from litemill.data.checks import check_source, open_source
from litemill.doctor.findings import Diagnosis, Finding
from litemill.doctor.layers import examine_layers, examine_preprocessing_layers, examine_recipes
from litemill.doctor.samples import examine_samples
from litemill.doctor.scaling import examine_scaling
from litemill.models.peek import check_fit
from litemill.models.source import load_source
from litemill.spec import RunSpec
from litemill.storage import fetch


def diagnose(spec: RunSpec) -> Diagnosis:
    """Examine a run's data, model and recipes.

    Raises:
        InputError: The data or the model can't be used at all.
    """
    facts = check_source(spec.data)
    data = open_source(spec.data, spec.training.seed)
    source = load_source(fetch(spec.model.uri), allow_unsafe=spec.model.allow_unsafe)
    check_fit(source.facts, facts.input_shape, spec.data.uri or spec.data.kind)
    findings = [Finding(level="warning", what=warning) for warning in facts.warnings]
    findings += [Finding(level="warning", what=note) for note in source.notes]
    findings += examine_samples(data, spec.data)
    if spec.data.task in ("classification", "binary"):
        findings += examine_scaling(data, spec.data, source.predict)
    if source.keras is not None:
        findings += examine_preprocessing_layers(source.keras)
    reason = "; ".join(source.notes)
    return Diagnosis(
        findings=findings,
        layers=examine_layers(source.keras) if source.keras is not None else [],
        recipes=examine_recipes(source.keras, reason, spec),
    )
