"""The control: as much extra training as a compressing step gets, without compression."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from litemill.components.images import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def finetune(
    model: Input[Model],
    source: Input[Model],
    dataset: Input[Dataset],
    options: dict,
    training: dict,
    epochs: int,
    tuned: Output[Model],
):
    """Fine-tune with nothing else, so that extra training is not mistaken for free compression.

    Args:
        model: The model so far.
        source: The source model: the teacher, where the training distils.
        dataset: The prepared splits.
        options: Options of the step.
        training: The config's `training` section.
        epochs: Passes over the train split, in place of the section's own.
        tuned: The model after this step, or the reason there is none.
    """
    import litemill as lm

    lm.train(
        model.path,
        dataset.path,
        {"finetune": options},
        training={**training, "epochs": epochs},
        source=source.path,
        out=tuned.path,
    )
