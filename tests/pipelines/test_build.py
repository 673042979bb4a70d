"""The compiled pipeline: equal to the golden file, reloadable, every task named after the plan."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from kfp import components

from litemill.config.load import load_config
from litemill.config.run import DataSpec, EvaluationOptions
from litemill.pipelines.submit import compile_for_cluster

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "pipelines").glob("*/config.yaml"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.parent.name)
def test_compiling_gives_the_golden_file_and_kfp_reloads_it(config: Path, tmp_path: Path) -> None:
    """A change of what runs on a cluster is seen in review. `make golden` writes the files anew."""
    compiled = tmp_path / "pipeline.yaml"
    compile_for_cluster(load_config(config), compiled)
    assert compiled.read_text() == config.with_name("pipeline.yaml").read_text()
    loaded = components.load_component_from_file(str(compiled))
    assert loaded.pipeline_spec.pipeline_info.name == load_config(config).name.replace("_", "-")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.parent.name)
def test_only_tasks_that_touch_mlflow_are_never_cached(config: Path) -> None:
    """Everything heavy is served from the cache when nothing changed; what touches MLflow happens every time."""
    spec = next(yaml.safe_load_all(config.with_name("pipeline.yaml").read_text()))
    graphs = [spec["root"], *spec["components"].values()]
    cached = {
        name: task["cachingOptions"].get("enableCache", False)
        for graph in graphs
        for name, task in graph.get("dag", {}).get("tasks", {}).items()
        if spec["components"].get(f"comp-{name}", {}).get("executorLabel")
    }
    touching = ("start-run", "log-variants", "compare", "release", "finish-run")
    assert cached
    assert {name: name.startswith(touching) for name in cached} == {name: not value for name, value in cached.items()}


def test_data_is_prepared_for_the_model_by_its_digest(tmp_path: Path) -> None:
    """The model says the size, the colour and the type of its inputs, so another model is another task."""
    images = DataSpec(kind="image_folder", uri="images", preprocessing={"resize": [8, 8], "color": "rgb"})
    spec = load_config(CONFIGS[0]).model_copy(update={"data": images})
    compile_for_cluster(spec, tmp_path / "pipeline.yaml")
    pipeline = next(yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text()))
    (task,) = [
        task
        for component in pipeline["components"].values()
        for name, task in component.get("dag", {}).get("tasks", {}).items()
        if name == "prepare-data"
    ]
    assert {"model_uri", "model_sha256", "allow_unsafe"} <= set(task["inputs"]["parameters"])


def test_the_kernels_of_the_evaluation_reach_every_evaluate_task(tmp_path: Path) -> None:
    spec = load_config(CONFIGS[-1]).model_copy(update={"evaluation": EvaluationOptions(kernels="reference")})
    compile_for_cluster(spec, tmp_path / "pipeline.yaml")
    pipeline = next(yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text()))
    found = {
        name: task["inputs"]["parameters"]["kernels"]["runtimeValue"]["constant"]
        for graph in (pipeline["root"], *pipeline["components"].values())
        for name, task in graph.get("dag", {}).get("tasks", {}).items()
        if name.startswith("evaluate-")
    }
    assert set(found.values()) == {"reference"}
    assert {"evaluate-baseline", "evaluate-source"} <= set(found)
