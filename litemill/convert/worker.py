"""The process that converts: `python -m litemill.convert.worker FOLDER` (see litemill.process.isolation).

A job holds `name`, `saved_model`, `static_model` (where the batch-1 copy goes, shared by the jobs), `calibration`
(the split's `x.npy`, or empty), `train` (the train split's folder, or empty: the outcome is not compared on it), `test`
(that of the samples to compare outputs on, or none) with the data's `task`, `output` (name of the one that is judged),
`others` (names of the other outputs), `output_is` (logits, probabilities or empty), `fewest` (calibration samples there
must be), `scheme`, `options`, `seed`, `out` (the `.tflite` to write) and `findings` (the JSON file for what only this
process can find out). A job whose source is a `.tflite` has that as `tflite` in place of the SavedModels, and then
TensorFlow is not imported.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from litemill.artifacts.files import write_manifest
from litemill.config.schemes import SCHEMES
from litemill.config.steps import Step, tflite_obstacle
from litemill.convert.batch import SIGNATURE, free_reshapes
from litemill.convert.calibration import compare_inputs, training_samples
from litemill.convert.collapse import by_column, check_agreement, compare_outputs, warn_of_output
from litemill.convert.contract import check_inputs, check_outputs, check_variant
from litemill.convert.findings import Conversion, Findings
from litemill.convert.parity import References, keras_outputs, measure_parity, parity_samples
from litemill.convert.sensitivity import float_counterpart, rank_layers, run
from litemill.errors import StepFailed
from litemill.evidence import CalibrationReport, VariantParity
from litemill.flatbuffer.delegation import ask_xnnpack
from litemill.models.backend import tensorflow
from litemill.plugins import load
from litemill.process.isolation import Job, serve
from litemill.runtime.runner import Runner
from litemill.tasks import OutputIs

CHECKED_SAMPLES = 64
COMPARED_SAMPLES = 256
"""Training samples on which a variant is compared with float32: enough to tell slight agreement from chance."""
BOOKKEEPING = ("Const", "Placeholder", "Identity", "NoOp")
log = logging.getLogger(__name__)


def convert(job: Job) -> None:
    """Convert one variant and check it.

    Raises:
        StepFailed: The calibration samples or the result do not hold what the scheme promises.
    """
    step = Step(name=job["scheme"], options=job["options"])
    samples, report = _calibration(job, step)
    out = Path(job["out"])
    np.random.seed(job["seed"])
    source, conversion, ops_before = _opened(job, step)
    judged = {"output": job["output"], "by_column": by_column(job["task"])} if step.scheme.searches else {}
    found = conversion(source, step.parsed(), samples, **judged)
    out.write_bytes(found.data)
    if not _follows_batch(out):
        _free_batch(out, job["name"])
    check_variant(out, step, samples if len(samples) else None)
    findings = Findings(sensitivity=found.sensitivity, calibration=report)
    if len(samples):
        _check_response(out, np.asarray(samples[:CHECKED_SAMPLES]), job)
    if report and job["train"]:
        _check_agreement(job, findings, report)
    findings.ops_before, findings.xnnpack = ops_before(), ask_xnnpack(out)
    findings.parity = _parity(job, out)
    write_manifest(Path(job["findings"]), findings)


def _calibration(job: Job, step: Step) -> tuple[Any, CalibrationReport | None]:
    """The calibration samples and what was found about them; none for a scheme that does not calibrate."""
    if not step.scheme.calibrated:
        return np.empty(0, np.float32), None
    where = job["calibration"]
    samples = np.load(where, mmap_mode="r", allow_pickle=False)
    check_inputs(samples, job["inputs"], where=where, fewest=job["fewest"])
    training = training_samples(Path(job["train"])) if job["train"] else None
    return samples, compare_inputs(samples, training, where=where)


def _check_agreement(job: Job, findings: Findings, report: CalibrationReport) -> None:
    """Compare the variant with the float model, layer by layer and on training samples.

    What was found stays behind for a model that has collapsed, and the worst layer is named in the reason.
    """
    reference, out, output = _float_model(job), Path(job["out"]), job["output"]
    if SCHEMES[job["scheme"]].ranks_layers and not job.get("tflite"):
        samples = np.load(job["calibration"], mmap_mode="r", allow_pickle=False)
        findings.sensitivity = rank_layers(
            out.read_bytes(), reference, samples, output, by_column=by_column(job["task"])
        )
    x = training_samples(Path(job["train"]), COMPARED_SAMPLES)
    outputs, expected = Runner(out, output=output).run(x), run(reference, x, output)
    compare_outputs(report, outputs, expected, task=job["task"], output_is=job["output_is"])
    for name in job["others"]:
        warn_of_output(report, name, Runner(out, output=name).run(x), run(reference, x, name), job["scheme"])
    write_manifest(Path(job["findings"]), findings)
    check_agreement(report, job["scheme"], findings.sensitivity, where=job["name"])


def _float_model(job: Job) -> bytes:
    """The model that is converted in float: its float conversion, or the `.tflite` it comes from."""
    if job.get("tflite"):
        return float_counterpart(Path(job["tflite"]).read_bytes())
    from litemill.convert.from_saved_model import float_model

    return float_model(Path(job["static_model"]))


def _opened(job: Job, step: Step) -> tuple[Path, Conversion, Callable[[], dict[str, int]]]:
    """The source in the form that is converted, what makes the scheme of it, and what counts its ops.

    Raises:
        StepFailed: A `.tflite` cannot be the source of that scheme.
    """
    if job.get("tflite"):
        if obstacle := tflite_obstacle([step]):
            raise StepFailed(obstacle)
        return Path(job["tflite"]), load(step.scheme.from_tflite), dict
    tensorflow().random.set_seed(job["seed"])
    static = Path(job["static_model"])
    if not static.exists():
        _fix_batch(Path(job["saved_model"]), static)
    return static, load(step.scheme.from_saved_model), partial(_frozen_ops, static)


def _parity(job: Job, out: Path) -> list[VariantParity]:
    """How far the variant's outputs are from the model's; nothing without samples."""
    if not job.get("test"):
        return []
    if job.get("tflite"):
        references = _references_of_tflite(job["tflite"], job["test"], job["task"], job["output_is"])
    else:
        judged = job["task"], job["output"], job["output_is"]
        references = _references(job["saved_model"], job["static_model"], job["test"], *judged)
    return measure_parity(out, job["scheme"], references)


@lru_cache(maxsize=1)
def _references(
    saved_model: str, static_model: str, test: str, task: str, output: str, output_is: OutputIs
) -> References:
    """What the model that is converted answers, computed once for all its variants."""
    from litemill.convert.from_saved_model import float_model

    float32 = Path(static_model) / "float32.tflite"
    float32.write_bytes(float_model(Path(static_model)))
    x = parity_samples(np.load(test, mmap_mode="r", allow_pickle=False), float32)
    return References(x, task, keras_outputs(Path(saved_model), x, output), float32, output, output_is)


@lru_cache(maxsize=1)
def _references_of_tflite(tflite: str, test: str, task: str, output_is: OutputIs) -> References:
    """As `_references`, of a source that is the float conversion itself: there is no Keras model."""
    x = parity_samples(np.load(test, mmap_mode="r", allow_pickle=False), Path(tflite))
    return References(x, task, None, Path(tflite), output_is=output_is)


def _frozen_ops(saved_model: Path) -> dict[str, int]:
    """Ops by type of the frozen graph, without constants, placeholders and identities: what fusion starts from."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model = tensorflow().saved_model.load(str(saved_model))
    frozen = convert_variables_to_constants_v2(model.signatures[SIGNATURE])
    counts = Counter(node.op for node in frozen.graph.as_graph_def().node if node.op not in BOOKKEEPING)
    return dict(counts.most_common())


def _fix_batch(saved_model: Path, out: Path) -> None:
    """Save a copy of a SavedModel whose signature has batch 1, names of inputs and outputs kept.

    Microcontrollers and NPU compilers want static shapes, and a free batch dimension costs a few ops.
    """
    tf = tensorflow()
    model = tf.saved_model.load(str(saved_model))
    if SIGNATURE not in model.signatures:
        raise StepFailed(f"has no signature {SIGNATURE!r}", where=str(saved_model), fix="Export the model with one")
    served = model.signatures[SIGNATURE]
    inputs = {
        name: tf.TensorSpec([1, *spec.shape[1:]], spec.dtype, name)
        for name, spec in served.structured_input_signature[1].items()
    }
    fixed = tf.function(lambda **tensors: served(**tensors)).get_concrete_function(**inputs)
    holder = tf.Module()
    holder.model = model
    tf.saved_model.save(holder, str(out), signatures={SIGNATURE: fixed})


def _check_response(path: Path, x: Any, job: Job) -> None:
    """Refuse a quantized model whose outputs have stopped following the input, where the float model's do."""
    runner = Runner(path, output=job["output"])
    outputs = runner.run(x)
    if np.ptp(outputs, axis=0).any():
        return
    expected = run(_float_model(job), x, job["output"])
    check_outputs(outputs, expected, step=float(runner.output["quantization"][0]), where=job["name"])


def _follows_batch(path: Path) -> bool:
    """Whether a batch of two gives the outputs of its samples."""
    batched, single = Runner(path, batch=2), Runner(path, batch=1)
    if batched.batch == 1:
        return False
    x = single.noise(2)
    expected = single.run(x)
    return bool(np.allclose(batched.run(x), expected, rtol=1e-3, atol=1e-3 * float(np.ptp(expected))))


def _free_batch(path: Path, name: str) -> None:
    """Make a file resizable if that takes no other op; it is evaluated sample by sample otherwise."""
    fixed = path.read_bytes()
    path.write_bytes(free_reshapes(fixed))
    if not _follows_batch(path):
        path.write_bytes(fixed)
        log.warning("%s: the batch of 1 is fixed in the graph; it is evaluated sample by sample", name)


def main() -> None:
    """Serve the jobs with what native code prints kept out of the way."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    serve(convert)


if __name__ == "__main__":
    main()
