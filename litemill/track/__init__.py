"""MLflow: a parent run for a pipeline run, a child run for each recipe. MLflow is imported when it is used."""

from litemill.track.comparison import compare_runs
from litemill.track.runs import finish_run, start_run, tag_run
from litemill.track.store import tracking_uri
from litemill.track.variants import log_variants

__all__ = ["compare_runs", "finish_run", "log_variants", "start_run", "tag_run", "tracking_uri"]
