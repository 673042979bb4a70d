"""Look at a run's model and data before any compute: what cannot work is reported now, not an hour later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from litemill.artifacts.layout import TFLM_TFLITE
from litemill.artifacts.storage import check_place, fetch
from litemill.compress.support import SUPPRESSED, qat_obstacles
from litemill.config.run import RunSpec
from litemill.config.schemes import DynamicOptions, SelectiveOptions
from litemill.config.steps import tflite_obstacle
from litemill.config.targets import kind_of
from litemill.data.checks import check_source
from litemill.data.sampling import FEWEST_CALIBRATION_SAMPLES
from litemill.data.source import SourceFacts
from litemill.errors import ConfigError, InputError
from litemill.models.facts import FROM_QUANTIZED, ModelFacts, Shape
from litemill.models.fit import check_fit, judged_positions
from litemill.models.output_shape import output_shapes
from litemill.models.peek import peek
from litemill.slim.lut_files import NOT_INSTALLED, installed
from litemill.stages.prepare import fitted, input_dtypes
from litemill.tasks import task_of
from litemill.tasks.joined import joined_shape, parts_of


def preflight(spec: RunSpec) -> SourceFacts:
    """Check that the sources exist, are sound and fit each other.

    Returns:
        What is known of the data, with warnings.

    Raises:
        InputError: A source is missing or broken, the model's input differs from the data's, or a release cannot be
            published where it should.
    """
    if spec.release:
        check_place(spec.release.uri)
    model = peek(fetch(spec.model.uri), allow_unsafe=spec.model.allow_unsafe, from_quantized=spec.model.from_quantized)
    shapes = output_shapes(model)
    if names := model.output_names or tuple(filter(None, shapes)):
        judged_positions(names, spec.data.output, model.path)
    data = check_source(fitted(spec.data, model), input_dtypes(model))
    check_fit(model, data.input_shape, spec.data.uri or spec.data.kind, data.inputs)
    _check_batch(spec, data)
    _check_outputs(spec, model, shapes, data)
    found = [
        *_cannot_train(spec, model),
        *_rounded_already(spec, model),
        *_cannot_quantize(spec, model),
        *_cannot_round(spec),
        *_cannot_calibrate(spec, data),
        *_other_kernels(spec),
        *_missing_programs(spec),
        *_no_tables(spec),
    ]
    return replace(data, warnings=[*data.warnings, *found])


def _check_batch(spec: RunSpec, data: SourceFacts) -> None:
    """Refuse a batch size that was asked for and is larger than the data; the default one shrinks to it."""
    asked, samples = spec.training.batch_size, data.samples["train"]
    if spec.trains and "batch_size" in spec.training.model_fields_set and asked > samples:
        what = f"is {asked:,}, but the train split has {samples:,} samples"
        raise InputError(what, where="training.batch_size", fix="Give a batch size below that, such as 32")


def _check_outputs(spec: RunSpec, model: ModelFacts, shapes: Mapping[str, Shape | None], data: SourceFacts) -> None:
    """Refuse targets that the model's outputs do not fit, as far as its file tells their shape.

    Raises:
        InputError: They do not.
    """
    task = task_of(spec.data.task)
    names = parts_of(spec.data.output, list(shapes))
    parts = list(shapes.values()) if len(shapes) == 1 else [shapes.get(name) for name in names]
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return
    shape = joined_shape(known)
    if shape is None:
        written = ", ".join(f"{name} {list(part)}" for name, part in zip(names, known, strict=True))
        raise InputError(f"outputs {written} are not rows of the same boxes", where=str(model.path), fix=task.wants)
    if None in shape:
        return
    if obstacle := task.obstacle(tuple(size for size in shape if size is not None), data.reading):
        raise InputError(obstacle, where=str(model.path), fix=task.wants)


def _cannot_train(spec: RunSpec, model: ModelFacts) -> list[str]:
    """Warn of recipes that need a Keras model where the source is nothing but a graph."""
    suppressed = spec.data.boxes is not None and spec.data.boxes.suppression == "graph"
    if model.format == "tflite":
        reason = model.only_graph or (SUPPRESSED if suppressed else "")
        found = {name: tflite_obstacle(steps, reason) for name, steps in spec.recipes.items()}
        return [f"recipe {name} will fail: {obstacle}" for name, obstacle in found.items() if obstacle]
    failing = [name for name, steps in spec.recipes.items() if any(not step.is_scheme for step in steps)]
    if not failing or not (model.only_graph or suppressed):
        return []
    reason = f"{model.only_graph or SUPPRESSED}, so train-aware steps cannot work"
    return [f"{reason}: recipes {', '.join(failing)} will fail"]


def _rounded_already(spec: RunSpec, model: ModelFacts) -> list[str]:
    """Warn of a source whose weights were rounded, or of one that was said to be such and is not."""
    if model.quantized:
        return [f"{FROM_QUANTIZED} ({model.packed})"]
    return ["model.from_quantized has no effect: the model is not quantized"] if spec.model.from_quantized else []


def _cannot_quantize(spec: RunSpec, model: ModelFacts) -> list[str]:
    """Warn of recipes whose quantization-aware training will refuse a layer, after other steps may have trained."""
    warnings = []
    for name, steps in spec.recipes.items():
        if obstacles := qat_obstacles(steps, model.layers):
            what = f"recipe {name} will fail: quantization-aware training cannot take layer {', '.join(obstacles)}"
            warnings.append(f"{what}; `qat: {{unsupported: float}}` keeps unsupported layers float")
    return warnings


def _cannot_round(spec: RunSpec) -> list[str]:
    """Warn of a variant that only XNNPACK computes right.

    Raises:
        ConfigError: litert-quantizer does not take the rules of a recipe file, or the kernels that evaluate compute
            what it makes of an option wrong.
    """
    warnings = []
    for name, steps in spec.recipes.items():
        options, where = steps[-1].parsed(), f"recipes.{name}"
        if isinstance(options, SelectiveOptions) and options.recipe:
            from litemill.convert.quantizer import check_recipe

            check_recipe(options.recipe, calibrated=steps[-1].scheme.calibrated, where=where)
        if isinstance(options, DynamicOptions) and options.blocks:
            what = f"LiteRT's reference kernels take no notice of {options.granularity}"
            if spec.evaluation.kernels == "reference":
                raise ConfigError(what, where=where, fix="Evaluate with evaluation.kernels: xnnpack, or leave it out")
            warnings.append(f"recipe {name} is for XNNPACK: {what}")
    return warnings


def _cannot_calibrate(spec: RunSpec, data: SourceFacts) -> list[str]:
    """Warn of recipes that will be refused for want of calibration samples."""
    count = data.samples["calibration"]
    failing = [name for name, steps in spec.recipes.items() if steps[-1].scheme.calibrated]
    if not failing or count >= FEWEST_CALIBRATION_SAMPLES:
        return []
    what = f"{count} calibration samples, {FEWEST_CALIBRATION_SAMPLES} are the least: recipes {', '.join(failing)}"
    return [f"{what} will fail; raise data.limit.calibration or give more"]


def _other_kernels(spec: RunSpec) -> list[str]:
    """Warn where accuracy is predicted with the kernels of phones and every target is a microcontroller."""
    if spec.evaluation.kernels == "reference" or not all(kind_of(target).micro for target in spec.targets):
        return []
    names = ", ".join(target.name for target in spec.targets)
    what = f"accuracy is that of XNNPACK, whose int8 outputs differ from those of {names}"
    return [f"{what}; `evaluation: {{kernels: reference}}` predicts a microcontroller, and takes longer"]


def _missing_programs(spec: RunSpec) -> list[str]:
    """Warn of targets whose programs are not here: they will fail, or be predicted, after everything has trained."""
    return [f"target {target.name} {lack}" for target in spec.targets for lack in target.missing()]


def _no_tables(spec: RunSpec) -> list[str]:
    """Warn where files with look-up tables are wanted and nothing here can write them."""
    if not spec.delivery.lut or installed():
        return []
    return [f"deploy.lut: {NOT_INSTALLED} here, so variants get no {TFLM_TFLITE}; install litemill[devices]"]
