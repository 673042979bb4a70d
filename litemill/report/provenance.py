"""The facts that the results of a run rest on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from litemill.select import Candidate


def provenance(candidates: Iterable[Candidate]) -> dict[str, dict[str, str]]:
    """What the results rest on: digests and sizes of the data, seeds, versions and devices, each named once.

    A fact that differs between recipes lists all its values.
    """
    facts: dict[str, dict[str, list[str]]] = {"Data and model": {}, "Versions": {}}
    for entry in candidates:
        variant, evaluation = entry.variant, entry.evaluation
        about = facts["Data and model"]
        _note(about, "calibration split (sha256)", variant.data_sha256)
        _note(about, "calibration samples", variant.calibration_samples or "")
        _note(about, "seed", variant.seed)
        if evaluation and evaluation.status == "ok":
            _note(about, "test split (sha256)", evaluation.data_sha256)
            _note(about, "test samples", f"{evaluation.samples:,}")
            _note(about, "kernels of the evaluation", evaluation.kernels)
        for name, version in variant.versions.items():
            _note(facts["Versions"], name, version)
        for target, measurement in entry.measurements.items():
            for name, value in flat_facts(measurement.device):
                _note(facts.setdefault(f"Target {target}", {}), name, value)
    message = {title: {name: ", ".join(values) for name, values in group.items()} for title, group in facts.items()}
    return {title: group for title, group in message.items() if group}


def _note(group: dict[str, list[str]], name: str, value: Any) -> None:
    text = str(value)
    if text and text not in group.get(name, []):
        group.setdefault(name, []).append(text)


def flat_facts(facts: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Facts as lines to read: `{"training": {"loss": [0.71234, 0.4]}}` becomes `training loss: 0.7123, 0.4`."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from flat_facts(value, f"{prefix}{name} ")
        else:
            values = value if isinstance(value, list | tuple) else [value]
            message = ", ".join(f"{item:.4g}" if isinstance(item, float) else str(item) for item in values)
            yield f"{prefix}{name}".replace("_", " "), message
