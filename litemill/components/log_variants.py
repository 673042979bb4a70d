"""One MLflow child run a recipe: its parameters, metrics, the `.tflite` and the evidence."""

from kfp import dsl
from kfp.dsl import Artifact, Input

from litemill.components.images import EDGE


@dsl.component(base_image=EDGE, install_kfp_package=False)
def log_variants(
    run_id: str,
    variants: Input[Artifact],
    evaluation: Input[Artifact],
    measurement_1: Input[Artifact],
    measurement_2: Input[Artifact] | None = None,
    measurement_3: Input[Artifact] | None = None,
    measurement_4: Input[Artifact] | None = None,
    measurement_5: Input[Artifact] | None = None,
    measurement_6: Input[Artifact] | None = None,
    measurement_7: Input[Artifact] | None = None,
    measurement_8: Input[Artifact] | None = None,
) -> str:
    """Log every variant of one model, and return the ids of their runs, separated by commas.

    Kubeflow passes no list of artifacts, so each target has an input of its own.

    Args:
        run_id: The parent run.
        variants: The bundle.
        evaluation: Its evaluation.
        measurement_1: Its measurements on the first target; the others follow.
    """
    from pathlib import Path

    import litemill as lm

    measured = [
        measurement_1,
        measurement_2,
        measurement_3,
        measurement_4,
        measurement_5,
        measurement_6,
        measurement_7,
        measurement_8,
    ]
    folders = [Path(one.path) for one in measured if one]
    return ",".join(lm.log_variants(run_id, Path(variants.path), Path(evaluation.path), folders))
