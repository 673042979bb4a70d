"""Close the MLflow run, whatever happened."""

from kfp import dsl
from kfp.dsl import PipelineTaskFinalStatus

from litemill.components.images import EDGE


@dsl.component(base_image=EDGE, install_kfp_package=False)
def finish_run(name: str, pipeline_run_id: str, status: PipelineTaskFinalStatus):
    """Mark the parent run as finished, failed or killed.

    Args:
        name: Name of the run's MLflow experiment.
        pipeline_run_id: Kubeflow's id of this pipeline run, by which the parent run is found.
        status: How the pipeline ended.
    """
    import litemill as lm

    lm.finish_run(name, pipeline_run_id, status.state, status.error_message or "")
