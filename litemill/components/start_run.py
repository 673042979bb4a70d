"""Open the MLflow run that everything else hangs on, and fingerprint the sources so that caches know their content."""

from typing import NamedTuple

from kfp import dsl

from litemill.components.images import EDGE


@dsl.component(base_image=EDGE, install_kfp_package=False)
def start_run(
    name: str, model_uri: str, data_uri: str, settings: dict, pipeline_run_id: str, registered_model: str = ""
) -> NamedTuple(
    "Started",
    [
        ("run_id", str),
        ("model_sha256", str),
        ("data_sha256", str),
        ("champion_version", str),
        ("champion_sha256", str),
    ],
):
    """Open the MLflow parent run, and give the digests of the model, the data and the registry's champion.

    Args:
        name: Name of the run's MLflow experiment.
        model_uri: Path, gs:// or s3:// address of the source model.
        data_uri: Path, gs:// or s3:// address of the data; empty for a built-in set.
        settings: Recipes, targets, training and budget, recorded as parameters of the run.
        pipeline_run_id: Kubeflow's id of this pipeline run.
        registered_model: Name in MLflow's model registry whose champion is looked up; none is without it.
    """
    import litemill as lm

    run_id = lm.start_run(name, settings, pipeline_run_id=pipeline_run_id)
    champion = lm.champion_version(registered_model) if registered_model else None
    known = (champion.version, champion.sha256) if champion else ("", "")
    return run_id, lm.digest(model_uri), lm.digest(data_uri) if data_uri else "", *known
