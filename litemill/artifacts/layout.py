"""Names of the files a step leaves: the on-disk contract between steps."""

DATASET = "dataset.json"
SPLITS = ("train", "calibration", "test")
X, Y = "x.npy", "y.npy"

MODEL = "model.json"
KERAS_MODEL = "model.keras"
SAVED_MODEL = "saved_model"

VARIANT = "variant.json"
TFLITE = "model.tflite"
QUANTIZER_RECIPE = "quantizer_recipe.json"
"""Beside a variant that litert-quantizer made: its own recipe, as its `load_quantization_recipe` takes it."""

EVALUATION = "evaluation.json"
SAMPLES = "samples.npz"
MEASUREMENT = "measurement.json"

RESULTS = "results.json"
REPORT = "report.html"
SUMMARY = "summary.md"
DIAGNOSIS = "diagnosis.md"

FAILURE = "failure.json"
"""In place of any artifact: which task failed, and why."""
