"""Say before any training what of the run will and will not work."""

from kfp import dsl
from kfp.dsl import Markdown, Output

from litemill.components.images import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def doctor(
    model_uri: str,
    model_sha256: str,
    allow_unsafe: bool,
    data: dict,
    data_uri: str,
    data_sha256: str,
    recipes: dict,
    seed: int,
    diagnosis: Output[Markdown],
    from_quantized: bool = False,
    restore_batch_norm: bool = True,
):
    """Examine the data, the preprocessing, the model's layers and the recipes. What is found never fails the task.

    Args:
        model_uri: Path, gs:// or s3:// address of the trained model.
        model_sha256: Its digest, so that a changed model is never served from the cache.
        allow_unsafe: Load Lambda layers, which are Python code in the file.
        data: The config's `data` section.
        data_uri: Path, gs:// or s3:// address of the data, in place of the section's own.
        data_sha256: Its digest.
        recipes: Recipe name to its list of steps.
        seed: Seed of every draw.
        diagnosis: What was found, as a page.
        from_quantized: Take a .tflite that is quantized, as the float32 model of its rounded weights.
        restore_batch_norm: Put BatchNormalization back where it was folded into the weights of a .tflite.
    """
    import litemill as lm

    run = {"name": "run", "data": {**data, "uri": data_uri}, "recipes": recipes, "training": {"seed": int(seed)}}
    quantized = {"from_quantized": from_quantized, "restore_batch_norm": restore_batch_norm}
    model = {"uri": model_uri, "allow_unsafe": allow_unsafe, **quantized}
    lm.doctor({**run, "model": model}, out=diagnosis.path, sha256=model_sha256)
