"""The bill of materials of a release: CycloneDX 1.6 with a model card, for tools that collect what is deployed."""

from __future__ import annotations

import uuid
from typing import Any

from litemill.shipping.manifest import Release, Tables

MODEL, TABLES = "model.tflite", "model.tflm.tflite"


def bill(release: Release) -> dict[str, Any]:
    """The bill, in which the model, its source and its data are components; the same release has the same bill."""
    data = {"source model": release.data.model, "calibration": release.data.calibration, "test": release.data.test}
    components = [_origin(name, digest) for name, digest in data.items() if digest]
    components += [_tables(release, release.tables)] if release.tables else []
    components += [_library(name, version) for name, version in sorted(release.versions.items())]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{release.name}/{release.sha256}')}",
        "version": 1,
        "metadata": {"component": _model(release)},
        "components": components,
        "dependencies": [
            {"ref": MODEL, "dependsOn": [one["bom-ref"] for one in components]},
            *({"ref": one["bom-ref"]} for one in components),
        ],
    }


def _model(release: Release) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": MODEL,
        "name": release.name,
        "version": release.sha256[:12],
        "description": f"{release.recipe}: {' → '.join(release.steps)}",
        "hashes": [{"alg": "SHA-256", "content": release.sha256}],
        "modelCard": _card(release),
    }


def _tables(release: Release, tables: Tables) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": TABLES,
        "name": f"{release.name} for TensorFlow Lite for Microcontrollers",
        "version": tables.sha256[:12],
        "description": f"{MODEL} with {tables.weights} weights as look-up tables",
        "hashes": [{"alg": "SHA-256", "content": tables.sha256}],
    }


def _card(release: Release) -> dict[str, Any]:
    found, known = release.evidence, release.interface
    metric: dict[str, Any] = {"type": found.metric, "value": repr(found.value)}
    metrics = [metric]
    if found.drop:
        low, high = found.drop.ci
        bounds = {"lowerBound": repr(low), "upperBound": repr(high)}
        metrics.append({"type": f"{found.metric} drop", "value": repr(found.drop.value), "confidenceInterval": bounds})
    metrics += [
        {"type": "latency p50 ms", "slice": target, "value": repr(value)} for target, value in found.latency_ms.items()
    ]
    datasets = [{"ref": f"data:{name}"} for name, digest in _data(release).items() if digest]
    card: dict[str, Any] = {
        "modelParameters": {
            "task": known.task if known else "classification",
            "datasets": datasets,
            "inputs": [{"format": f"tensor {shape}"} for shape in _shapes(release)],
            "outputs": [{"format": "tensor"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": metrics},
    }
    if release.intended_use.strip():
        card["considerations"] = {"useCases": [release.intended_use.strip()]}
    return card


def _shapes(release: Release) -> list[list[int]]:
    known = release.interface
    return [] if known is None else [known.input_shape] if known.input_shape else list(known.inputs.values())


def _data(release: Release) -> dict[str, str]:
    return {"calibration": release.data.calibration, "test": release.data.test}


def _origin(name: str, digest: str) -> dict[str, Any]:
    kind = "machine-learning-model" if name == "source model" else "data"
    found: dict[str, Any] = {"type": kind, "bom-ref": f"data:{name}", "name": name}
    found["hashes"] = [{"alg": "SHA-256", "content": digest}]
    return found | ({"data": [{"type": "dataset", "name": name}]} if kind == "data" else {})


def _library(name: str, version: str) -> dict[str, Any]:
    address = f"pkg:pypi/{name}@{version}"
    return {"type": "library", "bom-ref": address, "name": name, "version": version, "purl": address}
