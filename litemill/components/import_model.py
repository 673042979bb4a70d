"""Bring the trained model in, once, and convert the float32 baseline that every variant is compared with."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from litemill.components.images import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def import_model(
    uri: str,
    sha256: str,
    allow_unsafe: bool,
    dataset: Input[Dataset],
    model: Output[Model],
    baseline: Output[Artifact],
):
    """Load and check the source model; convert its float32 baseline and verify it on real samples.

    Args:
        uri: Path, gs:// or s3:// address of the trained model.
        sha256: Digest of the source, so that a changed model is never served from the cache.
        allow_unsafe: Load Lambda layers, which are Python code in the file.
        dataset: The prepared splits.
        model: The source model, ready for train-aware steps and for the converter.
        baseline: A bundle with the float32 variant.
    """
    import litemill as lm

    source = {"uri": uri, "allow_unsafe": allow_unsafe}
    lm.import_model(source, dataset.path, out=model.path, baseline=baseline.path, sha256=sha256)
