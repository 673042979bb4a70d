"""Close the MLflow run, whatever happened."""

from kfp import dsl
from kfp.dsl import PipelineTaskFinalStatus

from litemill.components.images import EDGE


@dsl.component(base_image=EDGE, install_kfp_package=False)
def finish_run(name: str, pipeline_run_id: str, status: PipelineTaskFinalStatus, notify: list = []):  # noqa: B006
    """Mark the parent run as finished, failed or killed, and tell webhooks how it ended.

    Args:
        name: Name of the run's MLflow experiment.
        pipeline_run_id: Kubeflow's id of this pipeline run, by which the parent run is found.
        status: How the pipeline ended.
        notify: Webhooks that are told: `kind`, `on`, and the name of the `variable` that holds the address.
    """
    import litemill as lm

    lm.finish_run(name, pipeline_run_id, status.state, status.error_message or "", webhooks=notify)
