"""`diagnose`: everything that can be told of a run in under a minute, before any training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from litemill.artifacts.files import write_text
from litemill.artifacts.storage import fetch
from litemill.config.run import RunSpec
from litemill.config.written import spec_of
from litemill.data.checks import check_source, open_source
from litemill.doctor.findings import Diagnosis, Finding, to_markdown
from litemill.doctor.layers import examine_layers, examine_preprocessing_layers, examine_recipes, examine_rewrites
from litemill.doctor.outputs import examine_outputs
from litemill.doctor.samples import examine_samples
from litemill.errors import InputError
from litemill.models.fit import check_fit
from litemill.models.peek import peek
from litemill.models.source import load_source
from litemill.stages.prepare import fitted


def diagnose(spec: RunSpec, *, sha256: str = "") -> Diagnosis:
    """Examine a run's data, model and recipes.

    Args:
        spec: The run.
        sha256: Digest of the model where it is known already; it must be the same still.

    Raises:
        InputError: The data or the model can't be used at all.
    """
    path = fetch(spec.model.uri, sha256=sha256)
    section = fitted(spec.data, peek(path, allow_unsafe=spec.model.allow_unsafe))
    facts = check_source(section)
    data = open_source(section, spec.training.seed)
    source = load_source(path, allow_unsafe=spec.model.allow_unsafe, output=section.output)
    check_fit(source.facts, facts.input_shape, section.uri or section.kind, facts.inputs)
    findings = [Finding(level="warning", what=warning) for warning in facts.warnings]
    findings += [Finding(level="warning", what=note) for note in source.notes]
    findings += examine_samples(data, section)
    findings += examine_outputs(data, section, facts, source)
    if source.keras is not None:
        findings += examine_preprocessing_layers(source.keras) + examine_rewrites(source.keras)
    return Diagnosis(
        findings=findings,
        layers=examine_layers(source.keras) if source.keras is not None else [],
        recipes=examine_recipes(source, spec),
    )


def doctor(
    config: RunSpec | Mapping[str, Any] | str | Path, *, out: str | Path | None = None, sha256: str = ""
) -> Diagnosis:
    """Say before any training what of a run will and will not work. A source that cannot be used is a finding too.

    Args:
        config: A YAML file, a spec, or a mapping as YAML has it.
        out: A Markdown file to write.
        sha256: Digest of the model where it is known already, as `digest` gives it; it must be the same still.

    Returns:
        What was found of the data and its preprocessing, the layers, and each recipe.

    Raises:
        ConfigError: Something in the config is wrong.

    Example:
        >>> import litemill as lm
        >>> diagnosis = lm.doctor("digits.yaml")
        >>> diagnosis.recipes
        {'int8': ''}
    """
    spec = spec_of(config)
    try:
        diagnosis = diagnose(spec, sha256=sha256)
    except InputError as error:
        # The task that needs the source fails with the same words; here they are the diagnosis.
        diagnosis = Diagnosis(findings=[Finding(level="error", what=str(error))])
    if out is not None:
        write_text(Path(out), to_markdown(diagnosis))
    return diagnosis
