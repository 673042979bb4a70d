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
    from_quantized: bool = False,
    restore_batch_norm: bool = True,
    trains: bool = True,
):
    """Load and check the source model; convert its float32 baseline and verify it on real samples.

    Args:
        uri: Path, gs:// or s3:// address of the trained model.
        sha256: Digest of the source, so that a changed model is never served from the cache.
        allow_unsafe: Load Lambda layers, which are Python code in the file.
        dataset: The prepared splits.
        model: The source model, ready for train-aware steps and for the converter.
        baseline: A bundle with the float32 variant.
        from_quantized: Take a .tflite that is quantized, as the float32 model of its rounded weights.
        restore_batch_norm: Put BatchNormalization back where it was folded into the weights of a .tflite.
        trains: Whether train-aware steps follow; for these the layers of a .tflite are rebuilt.
    """
    import litemill as lm

    quantized = {"from_quantized": from_quantized, "restore_batch_norm": restore_batch_norm}
    source = {"uri": uri, "allow_unsafe": allow_unsafe, **quantized}
    lm.import_model(source, dataset.path, out=model.path, baseline=baseline.path, sha256=sha256, trains=trains)
