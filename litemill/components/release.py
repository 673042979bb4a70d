"""Publish the winner where devices fetch it from, once and for good."""

from kfp import dsl
from kfp.dsl import Artifact, Input

from litemill.components.images import EDGE


@dsl.component(base_image=EDGE, install_kfp_package=False)
def release(
    results: Input[Artifact], uri: str, run_id: str, intended_use: str = "", sign_with: str = "", samples: int = 16
) -> str:
    """Publish the winner with its evidence under `uri`, and return the address.

    Args:
        results: What `compare` found.
        uri: Folder, gs:// or s3:// prefix; nothing in it is ever overwritten.
        run_id: The parent run, which gets the address as a tag.
        intended_use: What the model is for, in the user's own words.
        sign_with: Variable that holds the private key to sign with, or names its file; no signature without it.
        samples: Test samples that are kept with it.
    """
    import litemill as lm

    address = lm.release(results.path, uri, intended_use=intended_use, sign_with=sign_with, samples=int(samples))
    lm.tag_run(run_id, {"litemill.release": address})
    return address
