"""The compiled pipeline: equal to the golden file, reloadable, every task named after the plan."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from kfp import components

from litemill.config import load_config
from pipelines.submit import compile_for_cluster

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
CONFIGS = sorted((ROOT / "pipelines" / "configs").glob("*.yaml"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_compiling_gives_the_golden_file_and_kfp_reloads_it(config: Path, tmp_path: Path) -> None:
    """A change of what runs on a cluster is seen in review. `make golden` writes the files anew."""
    compiled = tmp_path / "pipeline.yaml"
    compile_for_cluster(load_config(config), compiled)
    assert compiled.read_text() == (GOLDEN / config.name).read_text()
    loaded = components.load_component_from_file(str(compiled))
    assert loaded.pipeline_spec.pipeline_info.name == load_config(config).name.replace("_", "-")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_only_tasks_that_touch_mlflow_are_never_cached(config: Path) -> None:
    """Everything heavy is served from the cache when nothing changed; what touches MLflow happens every time."""
    spec = next(yaml.safe_load_all((GOLDEN / config.name).read_text()))
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
