"""The tables of tasks and metrics in the docs are those of the records."""

from __future__ import annotations

from pathlib import Path

from litemill.tasks import METRICS, TASKS, metric_names

PAGE = Path(__file__).parents[2] / "docs" / "models-and-data.md"


def rows() -> list[str]:
    named = {task: ", ".join(f"`{metric}`" for metric in metric_names(task)) for task in TASKS}
    tasks = [f"| `{task.name}` | {task.labels} | {task.outputs} | {named[task.name]} |" for task in TASKS.values()]
    of = {name: ", ".join(task for task in TASKS if name in metric_names(task)) for name in METRICS.ours()}
    metrics = [
        f"| `{metric.name}` | {metric.summary} | {of[metric.name]} | {'more' if metric.higher_is_better else 'less'} |"
        for metric in METRICS.records()
        if metric.sees == "outcomes"
    ]
    return tasks + metrics


def test_the_docs_tell_every_task_and_metric_as_it_is() -> None:
    written = PAGE.read_text().splitlines()
    missing = [row for row in rows() if row not in written]
    assert not missing, "put into docs/models-and-data.md:\n" + "\n".join(missing)
