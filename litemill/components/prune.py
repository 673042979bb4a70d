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
    import litemill as lm

    lm.train(
        model.path,
        dataset.path,
        {"prune": options},
        training={**training, "epochs": epochs},
        source=source.path,
        out=pruned.path,
    )
