"""Time every variant on one target, interleaved with the float32 baseline."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from litemill.components.images import EDGE


@dsl.component(base_image=EDGE, install_kfp_package=False)
def benchmark(
    target: str,
    variants: Input[Artifact],
    baseline: Input[Artifact],
    dataset: Input[Dataset],
    measurement: Output[Artifact],
    metrics: Output[Metrics],
    champion: Input[Artifact] | None = None,
):
    """Measure a bundle on a target, in one session with the baseline.

    Args:
        target: Where to run, such as `host`.
        variants: The bundle.
        baseline: The bundle with the float32 baseline.
        dataset: The prepared splits; real samples go through every variant.
        measurement: One folder a recipe: `measurement.json`.
        metrics: Each variant's median latency in milliseconds, for the Kubeflow page.
        champion: The registry's champion, measured in the same session.
    """
    import json
    from pathlib import Path

    import litemill as lm

    rival = champion.path if champion else None
    found = lm.benchmark(
        target, variants.path, baseline=baseline.path, dataset=dataset.path, out=measurement.path, champion=rival
    )
    metrics.metadata.update({name: one.latency_ms["p50"] for name, one in found.items() if "p50" in one.latency_ms})
    Path(metrics.path).write_text(json.dumps(metrics.metadata))
