"""Keep the compiled pipeline small: what tasks have in common is written once, and its size is held against the limit.

Kubeflow writes a component's source again for each task. Executors that are equal in everything (component, image,
variables, resources, placement) become one. Definitions of components stay one a task: `kfp.local` names the folders of
tasks after them. The words for their inputs and outputs are left out; they are in `components/<name>/component.yaml`.
"""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import json_format
from kfp.dsl.base_component import BaseComponent

from litemill.errors import ConfigError

MOST_BYTES = 1_500_000
"""What Kubernetes stores of an object, about: etcd's limit of a request is 1.5 MiB."""


def shrink(pipeline: BaseComponent) -> BaseComponent:
    """Write once what the tasks of a pipeline have in common; the pipeline is changed in place."""
    spec, platforms = pipeline.pipeline_spec, pipeline.platform_spec
    executors: dict[str, Any] = json_format.MessageToDict(spec.deployment_spec).get("executors", {})
    placed = [platform.deployment_spec.executors for platform in platforms.platforms.values()]
    names: dict[str, str] = {}
    kept: dict[str, Any] = {}
    for component in (spec.components[name] for name in sorted(spec.components)):
        label = component.executor_label
        if not label:
            continue
        for part in (component.input_definitions, component.output_definitions):
            for one in (*part.parameters.values(), *part.artifacts.values()):
                one.description = ""
        # Sorted, because the order of a protobuf map is any.
        on_platforms = [json_format.MessageToDict(one[label]) for one in placed if label in one]
        same = json.dumps([executors[label], on_platforms], sort_keys=True)
        name = names.setdefault(same, _free(f"exec-{_function(executors[label])}", kept))
        if name not in kept:
            kept[name] = executors[label]
            for one in placed:
                if label in one and name != label:
                    one[name].CopyFrom(one[label])
        component.executor_label = name
    for one in placed:
        for label in [label for label in one if label not in kept]:
            del one[label]
    spec.deployment_spec.Clear()
    spec.deployment_spec.update({"executors": kept})
    return pipeline


def _function(executor: dict[str, Any]) -> str:
    """The component an executor runs, as Kubeflow writes names."""
    arguments = executor["container"]["args"]
    return str(arguments[arguments.index("--function_to_execute") + 1]).replace("_", "-")


def _free(name: str, taken: dict[str, Any]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def check_size(size: int, recipes: int, targets: int) -> None:
    """Refuse a compiled pipeline that a cluster would not store.

    Args:
        size: Bytes of the compiled pipeline.
        recipes: How many recipes it has.
        targets: How many targets.

    Raises:
        ConfigError: It is too large; says what to do.
    """
    if size > MOST_BYTES:
        raise ConfigError(
            f"the compiled pipeline has {size:,} bytes, and Kubernetes stores {MOST_BYTES:,} at most",
            where=f"{recipes} recipes on {targets} targets",
            fix="Split the recipes into several configs of the same name: their runs share one MLflow experiment",
        )
