"""Post-training conversions that need no calibration: float32, float16, dynamic range, weights in int8 or int4."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from litemill.components.images import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def ptq(
    model: Input[Model],
    dataset: Input[Dataset],
    recipes: dict,
    seed: int,
    deploy: dict,
    variants: Output[Artifact],
):
    """Convert a model by every recipe whose scheme needs no calibration.

    Args:
        model: The source model or a compressed one.
        dataset: The prepared splits; each variant's outputs on test samples are compared with the model's.
        recipes: Recipe name to its list of steps; the last is the scheme.
        seed: Seed of every draw.
        deploy: The config's `deploy` section.
        variants: The bundle: one folder a recipe.
    """
    import litemill as lm

    lm.convert(model.path, recipes, out=variants.path, dataset=dataset.path, seed=int(seed), deploy=deploy)
