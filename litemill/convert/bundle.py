"""Convert one model by many recipes: a bundle with one folder a recipe. Imports no TensorFlow."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from litemill.artifacts.files import read_manifest, sha256_of, staged, write_manifest
from litemill.artifacts.layout import DATASET, KERAS_MODEL, MODEL, SAVED_MODEL, TFLITE, TFLM_TFLITE, VARIANT, X
from litemill.config.deploy import Deploy
from litemill.config.schemes import SCHEMES
from litemill.config.steps import Step
from litemill.convert.findings import Findings
from litemill.convert.jobs import CalibrationJob, ConvertJob
from litemill.convert.promises import prove
from litemill.data.sampling import FEWEST_CALIBRATION_SAMPLES
from litemill.errors import ConfigError, InputError
from litemill.evidence.sources import DatasetManifest, ModelManifest
from litemill.evidence.variant import VariantManifest
from litemill.flatbuffer import measure_sizes, read_graph
from litemill.flatbuffer.fusion import count_folded
from litemill.flatbuffer.graph import op_positions
from litemill.flatbuffer.reader import parse_model
from litemill.process.isolation import Outcome, run_isolated
from litemill.slim.files import slim_files
from litemill.slim.lut_files import lut_files
from litemill.slim.rewrite import canonical_digest

log = logging.getLogger(__name__)

TIME_LIMIT = 900.0
"""Seconds that one conversion may take, TensorFlow's import included."""

FINDINGS = ".findings.json"
STATIC = ".static"
"""Where the worker keeps the copy of the SavedModel that has batch 1."""
TOOLS = ("litemill", "tensorflow", "tf-keras", "ai-edge-litert", "litert-quantizer", "numpy")


def convert_bundle(
    model: Path,
    recipes: Mapping[str, Sequence[Step | dict[str, Any]]],
    out: Path,
    *,
    dataset: Path | None = None,
    bundle: Path | None = None,
    subsets: Mapping[str, Path] | None = None,
    seed: int = 0,
    deploy: Deploy | None = None,
) -> list[VariantManifest]:
    """Convert a model by every recipe, all in one worker process.

    A recipe that cannot work (the converter refuses, crashes or hangs, samples that cannot calibrate, a failed model)
    becomes a failed entry with its reason.

    Args:
        model: A Model artifact: `model.json`, and `saved_model/` or `model.tflite`.
        recipes: Steps by recipe name, as `Step` or its plain data; all are recorded, the last is converted.
        out: The bundle to write: `<recipe>/model.tflite` and `<recipe>/variant.json`.
        dataset: A Dataset artifact; its calibration split is read where a scheme needs it, and samples of its test
            split to tell how far a variant's outputs are from the model's.
        bundle: A bundle to start from: its entries are copied first.
        subsets: Calibration samples by recipe (`.npy`) instead of the split, as many as there are; what comes of them
            is not compared with the training data.
        seed: Recorded, and given to TensorFlow and numpy.
        deploy: Whether variants are slimmed (see litemill.slim.rewrite: no output bit changes), what that keeps, and
            whether each gets a file with look-up tables for microcontrollers beside it. By default they are slimmed.

    Returns:
        The manifest of every recipe in `recipes`, in their order.

    Raises:
        ConfigError: A calibrated scheme without a dataset, or a recipe that `bundle` has already.
        InputError: `model` or `dataset` is no artifact of that kind.
    """
    parsed = {name: [Step.model_validate(step) for step in steps] for name, steps in recipes.items()}
    source = read_manifest(model / MODEL, ModelManifest)
    data = _calibration_manifest(dataset, parsed)
    taken = [name for name in recipes if bundle is not None and (bundle / name).exists()]
    if taken:
        raise ConfigError(f"recipe {taken[0]!r} is in the bundle already", where=str(bundle))
    with staged(out) as work:
        if bundle is not None:
            shutil.copytree(bundle, work, dirs_exist_ok=True)
        manifests = {name: _start(name, steps, source, data, seed) for name, steps in parsed.items()}
        if source.status == "ok":
            samples = {name: _samples(dataset, steps[-1], (subsets or {}).get(name)) for name, steps in parsed.items()}
            _convert_all(model, source, parsed, manifests, samples, work)
            _deploy_all(manifests, source, dataset, deploy or Deploy(), work)
        for name, manifest in manifests.items():
            write_manifest(work / name / VARIANT, manifest)
    return list(manifests.values())


def _calibration_manifest(dataset: Path | None, recipes: dict[str, list[Step]]) -> DatasetManifest | None:
    """The dataset's manifest where a recipe needs calibration."""
    needing = [name for name, steps in recipes.items() if steps[-1].scheme.calibrated]
    if not needing:
        return None
    if dataset is None:
        raise ConfigError(f"recipe {needing[0]!r} needs a dataset to calibrate with")
    return read_manifest(dataset / DATASET, DatasetManifest)


def _start(
    name: str, steps: list[Step], source: ModelManifest, data: DatasetManifest | None, seed: int
) -> VariantManifest:
    """What is known of a variant before it is converted; failed where the model is."""
    scheme = steps[-1]
    calibration = data.splits["calibration"] if data and scheme.scheme.calibrated else None
    return VariantManifest(
        recipe=name,
        steps=[step.name for step in steps],
        scheme=scheme.name,
        options=scheme.parsed().model_dump(mode="json"),
        status=source.status,
        reason=source.reason,
        passes=source.passes,
        model_sha256=source.sha256,
        data_sha256=calibration.x_sha256 if calibration else "",
        calibration_samples=calibration.samples if calibration else 0,
        output=source.judged,
        output_is=source.output_is,
        train_steps=source.steps,
        versions=tool_versions() | SCHEMES.brought_by(scheme.name).versions(),
        seed=seed,
    )


def tool_versions() -> dict[str, str]:
    """Versions of what makes a variant, of those that are installed."""
    found = {}
    for tool in TOOLS:
        try:
            found[tool] = version(tool)
        except PackageNotFoundError:
            log.debug("%s is not installed as a distribution", tool)
    return found


def _convert_all(
    model: Path,
    source: ModelManifest,
    recipes: dict[str, list[Step]],
    manifests: dict[str, VariantManifest],
    samples: dict[str, CalibrationJob],
    work: Path,
) -> None:
    """Convert in the worker, then fill in each manifest with what stands in its file, or with why there is none."""
    if not (model / SAVED_MODEL).is_dir() and not (model / TFLITE).is_file():
        raise InputError(f"has neither {SAVED_MODEL}/ nor {TFLITE}", where=str(model))
    jobs = []
    for name, steps in recipes.items():
        (work / name).mkdir()
        job = _job(name, steps[-1], model, source, manifests[name], samples[name])
        places = {"out": work / name / job.out, "findings": work / name / job.findings, "static_model": work / STATIC}
        jobs.append(job.model_dump(mode="json") | {key: str(path) for key, path in places.items()})
    outcomes = run_isolated(worker_module(), jobs, time_limit=TIME_LIMIT)
    for folder in work.glob(f"{STATIC}*"):
        shutil.rmtree(folder, ignore_errors=True)
    for name, manifest in manifests.items():
        _complete(manifest, work / name / TFLITE, outcomes[name])


def worker_module() -> str:
    """Name of the module that converts. Imported late, and imported at all so that cache keys know its code."""
    from litemill.convert import worker

    return worker.__name__


def _job(
    name: str, step: Step, model: Path, source: ModelManifest, manifest: VariantManifest, samples: CalibrationJob
) -> ConvertJob:
    """What the worker gets of a recipe; `_convert_all` says where it writes."""
    several = len(source.inputs) > 1
    return ConvertJob(
        **samples.model_dump(),
        name=name,
        scheme=step.name,
        options=step.options,
        saved_model=str((model / SAVED_MODEL).resolve()),
        keras=str((model / KERAS_MODEL).resolve()) if (model / KERAS_MODEL).is_file() else "",
        tflite=str((model / TFLITE).resolve()) if (model / TFLITE).is_file() else "",
        inputs={info.name if several else "": info.shape for info in source.inputs},
        dtypes={info.name if several else "": info.dtype for info in source.inputs},
        output=manifest.output,
        output_is=manifest.output_is,
        others=[info.name for info in source.outputs if info.name not in source.judged_names],
        seed=manifest.seed,
        out=TFLITE,
        findings=FINDINGS,
    )


def _samples(dataset: Path | None, scheme: Step, subset: Path | None) -> CalibrationJob:
    """What the worker gets of the samples that calibrate a recipe and of those it is compared on."""
    if dataset is None:
        return CalibrationJob(fewest=FEWEST_CALIBRATION_SAMPLES)
    folder = dataset.resolve()
    data = read_manifest(folder / DATASET, DatasetManifest)
    judged = {"task": data.task, "boxes": data.boxes}
    if subset is not None:
        return CalibrationJob(**judged, calibration=str(subset.resolve()), fewest=1)
    calibrates = scheme.scheme.calibrated
    return CalibrationJob(
        **judged,
        test=str(folder / "test" / X),
        calibration=str(folder / "calibration" / X) if calibrates else "",
        train=str(folder / "train") if calibrates else "",
        fewest=FEWEST_CALIBRATION_SAMPLES,
    )


def _deploy_all(
    manifests: dict[str, VariantManifest], source: ModelManifest, dataset: Path | None, deploy: Deploy, work: Path
) -> None:
    """Slim every variant there is, and make its file with look-up tables; the graph report keeps the names."""
    files = {name: work / name / TFLITE for name, manifest in manifests.items() if manifest.status == "ok"}
    samples = dataset / "calibration" / X if dataset else None
    several = max(len(source.inputs), len(source.outputs)) > 1
    keep = [*deploy.keep, *(["signatures"] * several)]
    for name, report in slim_files(files, keep=keep, samples=samples).items() if deploy.slim else ():
        manifests[name].slim = report
        _measure(manifests[name], files[name])
    if deploy.lut is True:
        pairs = {name: (file, file.with_name(TFLM_TFLITE)) for name, file in files.items()}
        made = lut_files(pairs, keep=keep, samples=samples, arena_limit=deploy.lut_arena_bytes)
        for name, tables in made.items():
            manifests[name].lut = tables


def _complete(manifest: VariantManifest, path: Path, outcome: Outcome) -> None:
    """Fill a manifest in from the file, or fail it and leave no file."""
    manifest.seconds = outcome.seconds
    if path.with_name(FINDINGS).exists():
        findings = read_manifest(path.with_name(FINDINGS), Findings)
        manifest.sensitivity, manifest.calibration = findings.sensitivity, findings.calibration
        for warning in findings.calibration.warnings if findings.calibration else []:
            log.warning("%s: %s", manifest.recipe, warning)
    if outcome.reason:
        manifest.status, manifest.reason = "failed", outcome.reason.replace(str(path), path.name)
        manifest.passes = outcome.passes
        for leftover in path.parent.iterdir():
            leftover.unlink()
        return
    path.with_name(FINDINGS).unlink()
    manifest.parity = findings.parity
    manifest.graph = read_graph(path)
    manifest.graph.ops_before = findings.ops_before
    manifest.graph.folded = count_folded(findings.ops_before, manifest.graph.ops)
    if findings.xnnpack:
        manifest.graph.delegation["xnnpack"] = findings.xnnpack
    data = path.read_bytes()
    positions = op_positions(parse_model(data, where=path.name))
    manifest.sensitivity = [
        one.model_copy(update={"position": positions.get(one.name)}) for one in manifest.sensitivity
    ]
    manifest.canonical_sha256 = canonical_digest(data)
    _measure(manifest, path)
    manifest.proof, broken = prove(path, manifest.train_steps)
    if broken:
        manifest.status, manifest.reason = "failed", f"the file does not keep what was trained: {'; '.join(broken)}"
        path.unlink()


def _measure(manifest: VariantManifest, path: Path) -> None:
    """Take a file's digest and sizes."""
    manifest.sha256 = sha256_of(path)
    manifest.size_bytes, manifest.gzip_bytes, manifest.zstd_bytes = measure_sizes(path)
