"""Let the model learn under the rounding of int8."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from litemill.components.images import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def quantize_aware_train(
    model: Input[Model],
    source: Input[Model],
    dataset: Input[Dataset],
    options: dict,
    training: dict,
    epochs: int,
    trained: Output[Model],
):
    """Fine-tune with fake quantization, keeping the zeros and shared values earlier steps made.

    Args:
        model: The model so far.
        source: The source model: the teacher, where the training distils.
        dataset: The prepared splits.
        options: Options of the step.
        training: The config's `training` section.
        epochs: Passes over the train split, in place of the section's own.
        trained: The model after this step, or the reason there is none.
    """
    import litemill as lm

    lm.train(
        model.path,
        dataset.path,
        {"qat": options},
        training={**training, "epochs": epochs},
        source=source.path,
        out=trained.path,
    )
