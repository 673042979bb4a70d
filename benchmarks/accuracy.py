"""What train-aware compression costs and brings on Fashion-MNIST: accuracy on all 10,000 test images, gzip size, flash.

    python -m benchmarks.accuracy [--work DIR] [--epochs 4] [--images 60000]

Trains the example's CNN (69,000 parameters), then every step, converts each model to int8 and prints one table. Every
number comes from the shipped files. The last rows start from the model's float `.tflite`, whose layers are rebuilt, and
stand beside the same from the Keras model. Each step is kept in DIR, so an interrupted run goes on where it stopped.
Exits 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from examples.fashion_mnist.train import train
from litemill.artifacts.files import read_manifest, write_text
from litemill.artifacts.layout import DATASET, MODEL, TFLITE
from litemill.benchmark import benchmark_bundle
from litemill.compress.train import train as take_step
from litemill.config.run import BASELINE, DataSpec, Limit, Preprocessing, Training
from litemill.config.steps import Step
from litemill.convert.bundle import convert_bundle
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.evaluate import evaluate_bundle
from litemill.evidence.outcome import Evaluation, Measurement
from litemill.evidence.sources import ModelManifest
from litemill.evidence.variant import VariantManifest
from litemill.models.store import save_model
from litemill.stages.import_model import import_model

SPARSITY, CLUSTERS = 0.5, 16
TARGET = "ethos-u55-128"
STEPS: dict[str, Step] = {
    "finetune": Step(name="finetune"),
    "prune": Step(name="prune", options={"sparsity": SPARSITY}),
    "cluster": Step(name="cluster", options={"clusters": CLUSTERS}),
    "qat": Step(name="qat"),
}
FROM_TFLITE = "tflite"
"""Names, before the steps, the model that was imported from the float `.tflite`."""
RECIPES: dict[str, list[str]] = {
    "int8": [],
    "finetuned-int8": ["finetune"],
    "pruned-int8": ["prune"],
    "pruned-clustered-int8": ["prune", "cluster"],
    "qat-int8": ["qat"],
    "pqat": ["prune", "qat"],
    "cqat": ["cluster", "qat"],
    "pcqat": ["prune", "cluster", "qat"],
    "pruned-int8 from .tflite": [FROM_TFLITE, "prune"],
    "qat-int8 from .tflite": [FROM_TFLITE, "qat"],
}
CONTROL = "finetuned-int8"
MOST_DROP = 0.005
"""A compressed model may be this much less accurate than the control, and one from the `.tflite` than from Keras."""
MOST_GZIP = 0.68
"""PCQAT's gzip size over that of plain int8."""
log = logging.getLogger("accuracy")


def main() -> int:
    """Train, convert, evaluate, print; returns the exit code."""
    options = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    started = time.monotonic()
    training = Training(epochs=options.epochs, batch_size=128, learning_rate=options.learning_rate, validation=0.0)
    dataset, source = prepare(options.work, options.images)
    models = {"": source, FROM_TFLITE: imported(source, dataset, options.work)}
    for names in RECIPES.values():
        for count in range(1 + (names[:1] == [FROM_TFLITE]), len(names) + 1):
            make_step(names[:count], models, dataset, training, options.work)
    rows = measure(models, dataset, options.work)
    write_text(options.work / "accuracy.json", json.dumps(rows, indent=2) + "\n")
    missed = missed_targets(rows)
    show(rows, missed, time.monotonic() - started, training)
    return 1 if missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("out/bench-accuracy"), help="where everything is kept")
    parser.add_argument("--epochs", type=int, default=4, help="of every train-aware step")
    parser.add_argument("--images", type=int, default=60_000, help="training images")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="peak, of every train-aware step")
    return parser.parse_args()


def prepare(work: Path, images: int) -> tuple[Path, Path]:
    """The data set and the source model, made once."""
    dataset, source = work / "dataset", work / "source"
    if not (dataset / DATASET).exists():
        limit = Limit(train=images if images < 60_000 else None, calibration=500)
        spec = DataSpec(kind="fashion_mnist", preprocessing=Preprocessing(scale=1 / 255), limit=limit)
        prepare_data(spec, 0, dataset)
    if not (source / MODEL).exists():
        log.info("training the source model")
        model = train(Splits.open(dataset))
        save_model(model, ModelManifest(origin="examples/fashion_mnist", origin_sha256=""), source)
    return dataset, source


def imported(source: Path, dataset: Path, work: Path) -> Path:
    """The source model's float32 `.tflite`, imported with the layers that are rebuilt from it; made once."""
    folder = work / "from-tflite"
    if not (folder / "model" / MODEL).exists():
        shutil.rmtree(folder, ignore_errors=True)
        convert_bundle(source, {BASELINE: [{"name": "float32"}]}, folder / "float32")
        file = folder / "float32" / BASELINE / TFLITE
        made = import_model(file, dataset, out=folder / "model", baseline=folder / "baseline")
        log.info("imported the .tflite: %s", "; ".join(made.notes))
    return folder / "model"


def make_step(names: list[str], models: dict[str, Path], dataset: Path, training: Training, work: Path) -> None:
    """One train-aware step on top of the ones before it, unless it is there already."""
    before, name = "-".join(names[:-1]), "-".join(names)
    models[name] = work / "models" / name
    if (models[name] / MODEL).exists():
        return
    log.info("training %s", " -> ".join(names))
    out, source = models[name], models[FROM_TFLITE if names[0] == FROM_TFLITE else ""]
    made = take_step(models[before], dataset, STEPS[names[-1]], out=out, training=training, source=source)
    log.info("%s: %s %s in %.0f s", name, made.status, made.reason, made.steps[-1].seconds)


def measure(models: dict[str, Path], dataset: Path, work: Path) -> list[dict[str, Any]]:
    """Convert every recipe to int8, evaluate it on the test split, and have Vela say what flash it takes."""
    shutil.rmtree(work / "measured", ignore_errors=True)
    folder = work / "measured"
    convert_bundle(models[""], {BASELINE: [{"name": "float32"}]}, folder / "baseline")
    evaluate_bundle(folder / "baseline", dataset, folder / "reference")
    rows = [_row("float32", *_evidence(folder / "reference" / BASELINE, folder / "baseline" / BASELINE), None)]
    for recipe, names in RECIPES.items():
        steps = [STEPS[name] for name in names if name != FROM_TFLITE]
        model, name = "-".join(names), "-".join([*names, "int8"])
        here = folder / name
        (manifest,) = convert_bundle(
            models[model], {name: [*steps, {"name": "int8"}]}, here / "variants", dataset=dataset
        )
        evaluation = evaluate_bundle(here / "variants", dataset, here / "evaluation", folder / "reference")[name]
        measured = benchmark_bundle(TARGET, here / "variants", folder / "baseline", dataset, here / "flash")[name]
        rows.append(_row(recipe, evaluation, manifest, measured))
    return rows


def _evidence(evaluation: Path, variant: Path) -> tuple[Evaluation, VariantManifest]:
    return (
        read_manifest(evaluation / "evaluation.json", Evaluation),
        read_manifest(variant / "variant.json", VariantManifest),
    )


def _row(
    recipe: str, evaluation: Evaluation, manifest: VariantManifest, measured: Measurement | None
) -> dict[str, Any]:
    return {
        "recipe": recipe,
        "status": manifest.status,
        "reason": manifest.reason,
        "accuracy": evaluation.value,
        "samples": evaluation.samples,
        "size_bytes": manifest.size_bytes,
        "gzip_bytes": manifest.gzip_bytes,
        "sparsity": [round(proof.sparsity, 3) for proof in manifest.proof],
        "distinct_in_channel": max((proof.distinct_in_channel for proof in manifest.proof), default=0),
        "flash_bytes": measured.realised_bytes if measured and measured.status == "ok" else None,
        "latency_ms": measured.latency_ms.get("p50") if measured and measured.status == "ok" else None,
    }


def missed_targets(rows: list[dict[str, Any]]) -> list[str]:
    """One sentence for each target that was missed."""
    found = {row["recipe"]: row for row in rows}
    missed = [f"{row['recipe']} failed: {row['reason']}" for row in rows if row["status"] != "ok"]
    for recipe in ("pruned-int8", "pcqat"):
        drop = found[CONTROL]["accuracy"] - found[recipe]["accuracy"]
        if drop > MOST_DROP:
            missed.append(f"{recipe} is {100 * drop:.2f} points below the control, {100 * MOST_DROP:.1f} were allowed")
    for recipe in ("pruned-int8", "qat-int8"):
        drop = found[recipe]["accuracy"] - found[f"{recipe} from .tflite"]["accuracy"]
        if drop > MOST_DROP:
            missed.append(f"{recipe} from the .tflite is {100 * drop:.2f} points below that from Keras")
    ratio = found["pcqat"]["gzip_bytes"] / found["int8"]["gzip_bytes"]
    if ratio > MOST_GZIP:
        missed.append(f"pcqat's gzip size is {ratio:.3f} of plain int8's, {MOST_GZIP} was allowed")
    return missed


def show(rows: list[dict[str, Any]], missed: list[str], seconds: float, training: Training) -> None:
    """Print the table; ratios are to plain int8, points to the control."""
    found = {row["recipe"]: row for row in rows}
    control, plain = found[CONTROL], found["int8"]
    console = Console(width=120)
    title = f"Fashion-MNIST, {rows[0]['samples']} test images, {training.epochs} epochs a step, {seconds / 60:.0f} min"
    table = Table("recipe", "accuracy", "vs control", "gzip", "ratio", f"flash {TARGET}", "ratio", "ms", title=title)
    for row in rows:
        points = 100 * (row["accuracy"] - control["accuracy"])
        flash = row["flash_bytes"]
        table.add_row(
            row["recipe"],
            f"{row['accuracy']:.4f}",
            f"{points:+.2f}",
            f"{row['gzip_bytes']:,}",
            f"{row['gzip_bytes'] / plain['gzip_bytes']:.3f}",
            f"{flash:,}" if flash else "",
            f"{flash / plain['flash_bytes']:.3f}" if flash and plain["flash_bytes"] else "",
            f"{row['latency_ms']:.3f}" if row["latency_ms"] else "",
        )
    console.print(table)
    for sentence in missed:
        console.print(f"missed: {sentence}")


if __name__ == "__main__":
    sys.exit(main())
