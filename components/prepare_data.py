"""Read the source of the samples once, and leave the splits every later task maps into memory."""

from kfp import dsl
from kfp.dsl import Dataset, Output

from components.images import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def prepare_data(data: dict, uri: str, sha256: str, seed: int, dataset: Output[Dataset]):
    """Write the train, calibration and test splits, preprocessed.

    Args:
        data: The config's `data` section.
        uri: Path or gs:// address of the data, in place of the section's own.
        sha256: Digest of the source, so that changed data is never served from the cache.
        seed: Seed of every draw.
        dataset: The splits, with `dataset.json`.
    """
    from pathlib import Path

    from litemill.data import prepare_data as prepare
    from litemill.spec import DataSpec

    prepare(DataSpec.model_validate({**data, "uri": uri}), int(seed), Path(dataset.path), sha256)
