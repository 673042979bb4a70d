"""Put the winner into MLflow's model registry, and let the gate decide whether it becomes the champion."""

from kfp import dsl
from kfp.dsl import Artifact, Input

from litemill.components.images import EDGE


@dsl.component(base_image=EDGE, install_kfp_package=False)
def register(results: Input[Artifact], registered_model: str, promote: str, run_id: str) -> str:
    """Register the winner with its evidence, and return its version.

    Args:
        results: What `compare` found.
        registered_model: Name in MLflow's model registry; made where it is not there.
        promote: `gate` makes a winner that is not worse than the champion the new one; `manual` leaves it a challenger.
        run_id: The parent run, which gets the version and the decision as tags.
    """
    import litemill as lm

    return lm.register(results.path, registered_model, run_id=run_id, promote=promote).version
