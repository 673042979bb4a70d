"""Magnitude pruning during fine-tuning, on TFMOT."""

from __future__ import annotations

from typing import Any

from litemill.compress.batch_norm import refresh_batch_norm
from litemill.compress.layers import (
    Choice,
    choose_layers,
    copy_model,
    kernel,
    measure_layers,
    weighted_layers,
    wrap_layers,
)
from litemill.compress.work import Done, Work
from litemill.config.steps import PruneOptions
from litemill.errors import StepFailed
from litemill.evidence.training import SPARSITY_TOLERANCE, PruneFindings, TrainingFindings
from litemill.flatbuffer.pattern import pattern_breaks

UPDATES = 50
"""How often the masks are drawn anew between begin and end, where there are enough steps."""
FEWEST_STEPS = 10


def prune(work: Work, options: PruneOptions) -> Done:
    """Fine-tune while the smallest weights of each layer become zero (Zhu & Gupta, 2017).

    https://arxiv.org/abs/1710.01878; N:M patterns after Mishra et al., 2021, https://arxiv.org/abs/2104.08378.

    Args:
        work: The model and its training.
        options: Sparsity, schedule, pattern, layers.

    Returns:
        The pruned model, the sparsity of each layer, and why others were left alone.

    Raises:
        StepFailed: No layer can be pruned, the training is too short, or the sparsity or pattern was not reached.
    """
    from tensorflow_model_optimization.sparsity import keras as sparsity

    choice = choose_layers(work.model, options, _unfit(work.model, options))
    settings = {"pruning_schedule": make_schedule(options, work.steps), "block_size": options.block}
    if options.m_by_n:
        settings["sparsity_m_by_n"] = options.m_by_n
    wrapped = wrap_layers(
        copy_model(work.model), choice.touched, lambda layer: sparsity.prune_low_magnitude(layer, **settings)
    )
    measured = work.fine_tune(wrapped, callbacks=[sparsity.UpdatePruningStep()], settled=options.end)
    pruned = sparsity.strip_pruning(wrapped)
    refresh_batch_norm(pruned, work.batches)
    return _proved(pruned, choice, options, measured)


def make_schedule(options: PruneOptions, steps: int) -> Any:
    """TFMOT's schedule over the steps that will run.

    A schedule longer than the training, or a frequency above the number of steps, prunes nothing, and TFMOT says
    nothing; so begin, end and frequency are fractions of what will run, and the last update falls on the end itself.

    Raises:
        StepFailed: Too few steps.
    """
    from tensorflow_model_optimization.sparsity import keras as sparsity

    if steps < FEWEST_STEPS:
        raise StepFailed(
            f"{steps} training steps are too few to prune in", fix="Raise training.epochs or lower training.batch_size"
        )
    begin = max(1, round(options.begin * steps))
    span = max(1, round(options.end * steps) - begin)
    frequency = max(1, span // UPDATES)
    end = begin + span // frequency * frequency
    if options.schedule == "constant":
        return sparsity.ConstantSparsity(options.target, begin, end, frequency)
    return sparsity.PolynomialDecay(0.0, options.target, begin, end, frequency=frequency)


def _unfit(model: Any, options: PruneOptions) -> dict[str, str]:
    """Layers that the wanted pattern does not fit."""
    unfit = {}
    for layer in weighted_layers(model):
        shape = list(layer.weights[0].shape)
        if options.block != (1, 1) and type(layer).__name__ != "Dense":
            unfit[layer.name] = "blocks are for dense layers"
        if options.m_by_n and (len(shape) not in (2, 4) or shape[-2] % options.m_by_n[1]):
            unfit[layer.name] = f"its input channels are no multiple of {options.m_by_n[1]}"
    return unfit


def _proved(model: Any, choice: Choice, options: PruneOptions, training: TrainingFindings) -> Done:
    """Hold the step to what it was asked.

    Raises:
        StepFailed: A layer is less sparse than asked for, or breaks the pattern.
    """
    layers = measure_layers(model, choice.touched)
    short = {
        name: found.sparsity for name, found in layers.items() if found.sparsity < options.target - SPARSITY_TOLERANCE
    }
    if short:
        message = ", ".join(f"{name} {value:.3f}" for name, value in short.items())
        raise StepFailed(f"the sparsity of {options.target} was not reached: {message}", fix="Train for more epochs")
    if options.m_by_n:
        for layer in weighted_layers(model):
            broken = pattern_breaks(kernel(layer), options.m_by_n) if layer.name in choice.touched else 0
            if broken:
                raise StepFailed(f"{broken} groups of layer {layer.name} break the pattern {options.m_by_n}")
    left_alone = choice.left_alone
    return Done(model, PruneFindings(target=options.target, layers=layers, left_alone=left_alone, training=training))
