"""Names of the files a step leaves: the on-disk contract between steps."""

from litemill.config.names import file_name

DATASET = "dataset.json"
SPLITS = ("train", "calibration", "test")
X, Y = "x.npy", "y.npy"

MODEL = "model.json"
KERAS_MODEL = "model.keras"
SAVED_MODEL = "saved_model"

VARIANT = "variant.json"
TFLITE = "model.tflite"
TFLM_TFLITE = "model.tflm.tflite"
"""Beside a variant whose weights repeat: the same model with look-up tables, which TFLM alone decodes."""
QUANTIZER_RECIPE = "quantizer_recipe.json"
"""Beside a variant that litert-quantizer made: its own recipe, as its `load_quantization_recipe` takes it."""

EVALUATION = "evaluation.json"
SAMPLES = "samples.npz"
PROBE = "probe.npz"
"""A few test samples `x`, their targets `y` and the answers `outputs`: whoever has the file can ask it again."""
MEASUREMENT = "measurement.json"
MEASUREMENTS = "measurement.*.json"
"""Those of a recipe on all targets, in the output folder of a run."""

RESULTS = "results.json"
VARIANTS = "variants"
"""Folder with one folder a recipe, beside `results.json`."""
REPORT = "report.html"
SUMMARY = "summary.md"
DIAGNOSIS = "diagnosis.md"
UNSENT = "unsent"
"""Folder beside `results.json` with what MLflow has not got, because it was down."""

FAILURE = "failure.json"
"""In place of any artifact: which task failed, and why."""


def measurement_name(target: str) -> str:
    """File of a recipe's measurement on a target, in the output folder of a run."""
    return MEASUREMENTS.replace("*", file_name(target))
