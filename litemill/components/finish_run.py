"""Close the MLflow run, whatever happened."""

from kfp import dsl
from kfp.dsl import PipelineTaskFinalStatus

from litemill.components.images import EDGE


@dsl.component(base_image=EDGE, install_kfp_package=False)
def finish_run(
    name: str,
    pipeline_run_id: str,
    status: PipelineTaskFinalStatus,
    planned: dict = {},  # noqa: B006
    max_accuracy_drop: float = -1.0,
    max_size_bytes: int = -1,
    notify: list = [],  # noqa: B006
):
    """Mark the parent run as finished, failed or killed, and tell webhooks how it ended.

    Of a pipeline that failed before its comparison, the variants that were logged are compared and reported first: a
    cluster starts no other task after one has failed.

    Args:
        name: Name of the run's MLflow experiment.
        pipeline_run_id: Kubeflow's id of this pipeline run, by which the parent run is found.
        status: How the pipeline ended.
        planned: What it should have compared: `recipes`, `budget`, `objective`, `seed`.
        max_accuracy_drop: In place of the budget's own; a negative one means no limit.
        max_size_bytes: In place of the budget's own; a negative one means no limit.
        notify: Webhooks that are told: `kind`, `on`, and the name of the `variable` that holds the address.
    """
    import litemill as lm

    limits = {"max_accuracy_drop": max_accuracy_drop, "max_size_bytes": max_size_bytes}
    lm.finish_run(
        name,
        pipeline_run_id,
        status.state,
        status.error_message or "",
        planned={**planned, **limits} if planned else None,
        webhooks=notify,
    )
