"""The process that converts: `python -m litemill.convert.worker FOLDER` (see litemill.process.isolation).

A job is a `ConvertJob` as plain data. Where its source is a `.tflite`, TensorFlow is not imported.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from litemill.artifacts.files import write_manifest, write_text
from litemill.artifacts.layout import QUANTIZER_RECIPE
from litemill.config.schemes import SCHEMES
from litemill.config.steps import Step, tflite_obstacle
from litemill.convert.batch import BATCHED_SAMPLES, SIGNATURE, follow_batch
from litemill.convert.calibration import compare_inputs, in_own_dtypes, training_samples
from litemill.convert.collapse import by_column, check_agreement, compare_outputs, warn_of_output
from litemill.convert.contract import check_inputs, check_outputs, check_variant
from litemill.convert.findings import Conversion, Converted, Findings
from litemill.convert.jobs import ConvertJob
from litemill.convert.parity import References, keras_outputs, measure_parity, parity_samples, spread_samples
from litemill.convert.pixels import quantize_bytes
from litemill.convert.refusal import refusal
from litemill.convert.sensitivity import float_counterpart, rank_layers, run
from litemill.errors import LitemillError, StepFailed, own_fault
from litemill.evidence.variant import CalibrationReport, VariantParity
from litemill.flatbuffer.delegation import ask_xnnpack
from litemill.models.backend import tensorflow
from litemill.plugins import load
from litemill.process.isolation import Job, serve
from litemill.runtime.runner import Runner

CHECKED_SAMPLES = 64
COMPARED_SAMPLES = 256
"""Training samples on which a variant is compared with float32: enough to tell slight agreement from chance."""
BOOKKEEPING = ("Const", "Placeholder", "Identity", "NoOp")
log = logging.getLogger(__name__)


def convert(data: Job) -> None:
    """Convert one variant and check it.

    Args:
        data: A `ConvertJob` as plain data.

    Raises:
        StepFailed: The calibration samples or the result do not hold what the scheme promises.
    """
    job = ConvertJob.model_validate(data)
    step = Step(name=job.scheme, options=job.options)
    samples, report = _calibration(job, step)
    out = Path(job.out)
    np.random.seed(job.seed)
    source, conversion, ops_before = _opened(job, step)
    judged = {"output": job.output, "by_column": by_column(job.task, job.boxes)} if step.scheme.searches else {}
    found = _converted(partial(conversion, **judged), source, step, samples)
    out.write_bytes(quantize_bytes(found.data) if step.scheme.calibrated else found.data)
    follow_batch(out, _real_samples(job, out))
    check_variant(out, step, samples if len(samples) else None, dtypes=job.dtypes)
    findings = Findings(sensitivity=found.sensitivity, calibration=report)
    if len(samples):
        _check_response(out, np.asarray(samples[:CHECKED_SAMPLES]), job)
    if report and job.train:
        _check_agreement(job, findings, report)
    findings.ops_before, findings.xnnpack = ops_before(), ask_xnnpack(out)
    findings.parity = _parity(job, out)
    write_manifest(Path(job.findings), findings)
    if found.recipe:
        write_text(out.with_name(QUANTIZER_RECIPE), json.dumps(found.recipe, indent=1) + "\n")


def _converted(conversion: Conversion, source: Path, step: Step, samples: Any) -> Converted:
    """What a scheme makes of the source.

    Raises:
        StepFailed: The converter refuses, with the op and the layer; it raises whatever it likes. What is raised in
            Litemill's own code is no refusal, and goes on as it is.
    """
    try:
        return conversion(source, step.parsed(), samples)
    except Exception as error:
        if isinstance(error, LitemillError | MemoryError) or own_fault(error):
            raise
        log.info("%s: %s", step.name, error, exc_info=True)
        raise StepFailed(f"{step.name}: {refusal(error)}") from error


def _real_samples(job: ConvertJob, out: Path) -> Any:
    """Samples to try batches on: of the test split, else those that calibrate, else noise."""
    for where in (job.test, job.calibration):
        if where and len(samples := np.load(where, mmap_mode="r", allow_pickle=False)):
            return spread_samples(samples, BATCHED_SAMPLES)
    return Runner(out, batch=1).noise(BATCHED_SAMPLES)


def _calibration(job: ConvertJob, step: Step) -> tuple[Any, CalibrationReport | None]:
    """The calibration samples and what was found about them; none for a scheme that does not calibrate."""
    if not step.scheme.calibrated:
        return np.empty(0, np.float32), None
    where = job.calibration
    samples = np.load(where, mmap_mode="r", allow_pickle=False)
    samples = in_own_dtypes(samples, job.dtypes)
    check_inputs(samples, job.inputs, dtypes=job.dtypes, where=where, fewest=job.fewest)
    training = training_samples(Path(job.train)) if job.train else None
    return samples, compare_inputs(samples, training, where=where)


def _check_agreement(job: ConvertJob, findings: Findings, report: CalibrationReport) -> None:
    """Compare the variant with the float model, layer by layer and on training samples.

    What was found stays behind for a model that has collapsed, and the worst layer is named in the reason.
    """
    reference, out, output = _float_model(job), Path(job.out), job.output
    columns = by_column(job.task, job.boxes)
    if SCHEMES[job.scheme].ranks_layers and not job.tflite:
        samples = np.load(job.calibration, mmap_mode="r", allow_pickle=False)
        findings.sensitivity = rank_layers(out.read_bytes(), reference, samples, output, by_column=columns)
    x = training_samples(Path(job.train), COMPARED_SAMPLES)
    outputs, expected = Runner(out, output=output).run(x), run(reference, x, output)
    # A class that no sample has gives a detector a column that tells nothing: what it finds is compared.
    compare_outputs(report, outputs, expected, decide=job.decisions, by_column=columns and job.boxes is None)
    for name in job.others:
        warn_of_output(report, name, Runner(out, output=name).run(x), run(reference, x, name), job.scheme)
    write_manifest(Path(job.findings), findings)
    check_agreement(report, job.scheme, findings.sensitivity, where=job.name)


def _float_model(job: ConvertJob) -> bytes:
    """The model that is converted in float: its float conversion, or the `.tflite` it comes from."""
    if job.tflite:
        return float_counterpart(Path(job.tflite).read_bytes())
    from litemill.convert.from_saved_model import float_model

    return float_model(Path(job.static_model))


def _opened(job: ConvertJob, step: Step) -> tuple[Path, Conversion, Callable[[], dict[str, int]]]:
    """The source in the form that is converted, what makes the scheme of it, and what counts its ops.

    Raises:
        StepFailed: A `.tflite` cannot be the source of that scheme.
    """
    if job.tflite:
        if obstacle := tflite_obstacle([step]):
            raise StepFailed(obstacle)
        return Path(job.tflite), load(step.scheme.from_tflite), dict
    tensorflow().random.set_seed(job.seed)
    from litemill.convert.static import static_model, without_loops

    static, keras = Path(job.static_model), Path(job.keras) if job.keras else None
    if not static.exists():
        static_model(Path(job.saved_model), keras, static)
    if step.scheme.calibrated:
        static = without_loops(static, keras, step.name)
    return static, load(step.scheme.from_saved_model), partial(_frozen_ops, static)


def _parity(job: ConvertJob, out: Path) -> list[VariantParity]:
    """How far the variant's outputs are from the model's; nothing without samples."""
    if not job.test:
        return []
    if job.tflite:
        references = _references_of_tflite(job.tflite, job.test, job.output)
    else:
        references = _references(job.saved_model, job.static_model, job.test, job.output)
    return measure_parity(out, job.scheme, references, job.decisions)


@lru_cache(maxsize=1)
def _references(saved_model: str, static_model: str, test: str, output: str) -> References:
    """What the model that is converted answers, computed once for all its variants."""
    from litemill.convert.from_saved_model import float_model

    float32 = Path(static_model) / "float32.tflite"
    float32.write_bytes(float_model(Path(static_model)))
    x = parity_samples(np.load(test, mmap_mode="r", allow_pickle=False), float32)
    return References(x, keras_outputs(Path(saved_model), x, output), float32, output)


@lru_cache(maxsize=1)
def _references_of_tflite(tflite: str, test: str, output: str) -> References:
    """As `_references`, of a source that is the float conversion itself: there is no Keras model."""
    x = parity_samples(np.load(test, mmap_mode="r", allow_pickle=False), Path(tflite))
    return References(x, None, Path(tflite), output)


def _frozen_ops(saved_model: Path) -> dict[str, int]:
    """Ops by type of the frozen graph, without constants, placeholders and identities: what fusion starts from."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model = tensorflow().saved_model.load(str(saved_model))
    frozen = convert_variables_to_constants_v2(model.signatures[SIGNATURE])
    counts = Counter(node.op for node in frozen.graph.as_graph_def().node if node.op not in BOOKKEEPING)
    return dict(counts.most_common())


def _check_response(path: Path, x: Any, job: ConvertJob) -> None:
    """Refuse a quantized model whose outputs have stopped following the input, where the float model's do."""
    runner = Runner(path, output=job.output)
    outputs = runner.run(x)
    if np.ptp(outputs, axis=0).any():
        return
    expected = run(_float_model(job), x, job.output)
    check_outputs(outputs, expected, step=float(runner.output["quantization"][0]), where=job.name)


def main() -> None:
    """Serve the jobs with what native code prints kept out of the way."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    serve(convert)


if __name__ == "__main__":
    main()
