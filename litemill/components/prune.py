"""Make the smallest weights zero while fine-tuning."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from litemill.components.images import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def prune(
    model: Input[Model],
    source: Input[Model],
    dataset: Input[Dataset],
    options: dict,
    training: dict,
    epochs: int,
    pruned: Output[Model],
):
    """Fine-tune while zeroing the smallest weights, until `options["sparsity"]` of them are gone.

    Args:
        model: The model so far.
        source: The source model: the teacher, where the training distils.
        dataset: The prepared splits.
        options: Options of the step.
        training: The config's `training` section.
        epochs: Passes over the train split, in place of the section's own.
        pruned: The model after this step, or the reason there is none.
    """
    from pathlib import Path

    from litemill.compress import prune_model
    from litemill.config.run import Training
    from litemill.config.steps import PruneOptions

    prune_model(
        Path(model.path),
        Path(dataset.path),
        PruneOptions.model_validate(options),
        Training.model_validate({**training, "epochs": epochs}),
        Path(pruned.path),
        source=Path(source.path),
    )
