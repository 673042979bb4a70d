"""`diagnose`: what can be known of a run in under a minute, before any training. Advice: it fails nothing."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from litemill.artifacts.files import read_manifest, write_text
from litemill.artifacts.storage import fetch
from litemill.config.run import RunSpec
from litemill.config.written import spec_of
from litemill.data.checks import check_source, open_source
from litemill.data.source import SourceFacts
from litemill.doctor.findings import Diagnosis, Finding, to_markdown
from litemill.doctor.probes import LOADING, PROBES, ProbeJob
from litemill.doctor.samples import examine_samples
from litemill.errors import InputError, LitemillError, first_line
from litemill.models.peek import peek
from litemill.process.isolation import Outcome, run_isolated
from litemill.stages.prepare import fitted

log = logging.getLogger(__name__)

TIME_LIMIT = 300.0
"""Seconds that one probe may take."""


def diagnose(spec: RunSpec, *, sha256: str = "") -> Diagnosis:
    """Examine a run's data, model and recipes.

    What cannot be examined (a library that refuses, a native crash, a probe that takes too long) is a finding of its
    own and costs the others nothing.

    Args:
        spec: The run.
        sha256: Digest of the model where it is known already; it must be the same still.

    Raises:
        InputError: The data or the model can't be used at all.
    """
    path = fetch(spec.model.uri, sha256=sha256)
    model = peek(path, allow_unsafe=spec.model.allow_unsafe, from_quantized=spec.model.from_quantized)
    section = fitted(spec.data, model)
    facts = check_source(section)
    findings = [Finding(level="warning", what=warning) for warning in facts.warnings]
    findings += _contained("the samples", lambda: examine_samples(open_source(section, spec.training.seed), section))
    probed = _probe(path, spec.model_copy(update={"data": section}), facts)
    return probed.model_copy(update={"findings": [*findings, *probed.findings]})


def _contained(title: str, examine: Callable[[], list[Finding]]) -> list[Finding]:
    """What an examination finds, or that it could not be made.

    Raises:
        InputError: The data or the model can't be used at all.
    """
    try:
        return examine()
    except InputError:
        raise
    except Exception as error:  # whatever it is: the doctor is advice
        log.warning("%s could not be examined", title, exc_info=True)
        return [_untried(title, first_line(error))]


def _untried(title: str, reason: str) -> Finding:
    return Finding(level="warning", what=f"could not try {title}: {reason}")


def _probe(path: Path, spec: RunSpec, facts: SourceFacts) -> Diagnosis:
    """Examine the loaded model, in a process that may crash.

    Raises:
        InputError: The model cannot be loaded, or does not fit the data.
    """
    with tempfile.TemporaryDirectory(prefix="litemill-") as folder:
        jobs = {name: _job(name, path.absolute(), spec, facts, Path(folder)) for name in PROBES}
        try:
            plain = [job.model_dump(mode="json", exclude_none=True) for job in jobs.values()]
            outcomes = run_isolated(worker_module(), plain, time_limit=TIME_LIMIT)
        except LitemillError as error:
            return Diagnosis(findings=[_untried(PROBES[LOADING].title, str(error))])
        return _collected(jobs, outcomes)


def worker_module() -> str:
    """Name of the module that probes. Imported late, and imported at all so that cache keys know its code."""
    from litemill.doctor import worker

    return worker.__name__


def _job(name: str, path: Path, spec: RunSpec, facts: SourceFacts, folder: Path) -> ProbeJob:
    return ProbeJob(
        name=name,
        path=path,
        model=spec.model,
        data=spec.data,
        recipes=dict(spec.recipes),
        seed=spec.training.seed,
        facts=facts,
        out=folder / f"{name}.json",
        loaded=folder / "loaded",
    )


def _collected(jobs: Mapping[str, ProbeJob], outcomes: Mapping[str, Outcome]) -> Diagnosis:
    """One diagnosis of what the probes found and of those that could not be made."""
    whole = Diagnosis()
    for name, job in jobs.items():
        reason = outcomes[name].reason
        if name == LOADING and outcomes[name].cause == InputError.__name__:
            raise InputError(reason)
        if reason:
            whole.findings.append(_untried(PROBES[name].title, reason))
        elif job.out.exists():
            found = read_manifest(job.out, Diagnosis)
            whole.findings += found.findings
            whole.layers += found.layers
            whole.recipes |= found.recipes
    return whole


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
