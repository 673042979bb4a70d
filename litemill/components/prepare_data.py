"""Read the source of the samples once, and leave the splits every later task maps into memory."""

from kfp import dsl
from kfp.dsl import Dataset, Output

from litemill.components.images import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def prepare_data(
    data: dict,
    uri: str,
    sha256: str,
    seed: int,
    dataset: Output[Dataset],
    model_uri: str = "",
    model_sha256: str = "",
    allow_unsafe: bool = False,
    from_quantized: bool = False,
):
    """Write the train, calibration and test splits, preprocessed.

    Args:
        data: The config's `data` section.
        uri: Path, gs:// or s3:// address of the data, in place of the section's own.
        sha256: Digest of the source, so that changed data is never served from the cache.
        seed: Seed of every draw.
        dataset: The splits, with `dataset.json`.
        model_uri: Address of the model: says the type of inputs, size and colour of images; empty for float32 inputs.
        model_sha256: Its digest.
        allow_unsafe: Accept a model with Lambda layers.
        from_quantized: Accept a .tflite that is quantized.
    """
    import litemill as lm

    source = {"uri": model_uri, "allow_unsafe": allow_unsafe, "from_quantized": from_quantized}
    model = source if model_uri else None
    lm.prepare_data({**data, "uri": uri}, model=model, seed=int(seed), out=dataset.path, sha256=sha256)
