"""Run every variant over the whole test split, and keep the outcome of each sample."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from litemill.components.images import EDGE


@dsl.component(base_image=EDGE, install_kfp_package=False)
def evaluate(
    variants: Input[Artifact],
    dataset: Input[Dataset],
    kernels: str,
    evaluation: Output[Artifact],
    metrics: Output[Metrics],
    reference: Input[Artifact] | None = None,
):
    """Evaluate a bundle on the test split, paired with the baseline.

    Args:
        variants: The bundle.
        dataset: The prepared splits.
        kernels: Which kernels compute: xnnpack or reference.
        evaluation: One folder a recipe: `evaluation.json` and the outcome of each sample.
        metrics: Each variant's metric, for the Kubeflow page.
        reference: The evaluation of the float32 baseline.
    """
    import json
    from pathlib import Path

    import litemill as lm

    paired = reference.path if reference else None
    found = lm.evaluate(variants.path, dataset.path, out=evaluation.path, reference=paired, kernels=kernels)
    metrics.metadata.update({name: one.value for name, one in found.items() if one.status == "ok"})
    Path(metrics.path).write_text(json.dumps(metrics.metadata))
