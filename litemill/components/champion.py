"""Fetch the registry's champion, which the winner of a run must not be worse than."""

from kfp import dsl
from kfp.dsl import Artifact, Output

from litemill.components.images import EDGE


@dsl.component(base_image=EDGE, install_kfp_package=False)
def champion(registered_model: str, version: str, sha256: str, champion: Output[Artifact]):
    """Fetch a version of a registered model as a bundle of one variant.

    Args:
        registered_model: Its name in MLflow's model registry.
        version: The champion's, from start_run; empty where there is none yet.
        sha256: Digest of its file, so that another champion is never served from the cache.
        champion: A bundle with the one recipe `champion`; a failed one where there is no champion yet.
    """
    import litemill as lm

    lm.champion(registered_model, version=version, sha256=sha256, out=champion.path)
