"""Conversions calibrated on real samples: int8, int16x8, mixed-int8."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from litemill.components.images import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def int8_convert(
    model: Input[Model],
    dataset: Input[Dataset],
    recipes: dict,
    seed: int,
    deploy: dict,
    variants: Output[Artifact],
    bundle: Input[Artifact] | None = None,
):
    """Convert a model by every recipe whose scheme needs the calibration split, and add to the bundle.

    Args:
        model: The source model or a compressed one.
        dataset: The prepared splits; the representative dataset is its calibration split.
        recipes: Recipe name to its list of steps; the last is the scheme.
        seed: Seed of every draw.
        deploy: The config's `deploy` section.
        variants: The bundle: one folder a recipe, those of `bundle` included.
        bundle: The variants that `ptq` made of the same model.
    """
    import litemill as lm

    lm.convert(
        model.path,
        recipes,
        out=variants.path,
        dataset=dataset.path,
        bundle=bundle.path if bundle else None,
        seed=int(seed),
        deploy=deploy,
    )
