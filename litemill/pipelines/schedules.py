"""Recurring runs: one for each name, created or replaced; listed, paused, resumed, deleted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from litemill.config.base import nearest
from litemill.config.run import RunSpec
from litemill.errors import ConfigError, LitemillError
from litemill.pipelines.client import api_errors
from litemill.pipelines.submit import experiment_of, upload

FIELDS = ("second", "minute", "hour", "day of month", "month", "day of week")


def next_times(cron: str, count: int = 5, start: datetime | None = None) -> list[datetime]:
    """The next times a schedule fires, in UTC, which is Kubeflow's time.

    Args:
        cron: Six fields, seconds first: `0 0 3 * * *` is every night at three.
        count: How many.
        start: From when; default: now.

    Raises:
        ConfigError: Kubeflow would refuse the expression, or misread it.
    """
    from croniter import CroniterError, croniter

    fields = cron.split()
    if len(fields) != len(FIELDS):
        fix = f"Kubeflow's cron has six: {', '.join(FIELDS)}"
        hint = f". For this one put the seconds first: '0 {cron}'" if len(fields) == 5 else ""
        raise ConfigError(f"has {len(fields)} fields", where=f"--cron {cron!r}", fix=fix + hint)
    begin = start or datetime.now(UTC)
    try:
        times = croniter(cron.replace("?", "*"), begin, second_at_beginning=True)
        return [times.get_next(datetime) for _ in range(count)]
    except (CroniterError, ValueError) as error:
        raise ConfigError(f"is no cron expression: {error}", where=f"--cron {cron!r}") from None


def schedule(
    client: Any, host: str, spec: RunSpec, cron: str, *, catchup: bool = True, max_concurrency: int = 1
) -> tuple[str, int]:
    """Create the recurring run of a config, or replace the one of that name.

    The new one is created before the old ones are deleted: a failure between the two leaves a run too many, never
    none.

    Returns:
        The id of the recurring run, and how many it replaced.
    """
    next_times(cron, 1)
    version = upload(client, host, spec)
    experiment = experiment_of(client, host, spec)
    old = [run for run in _all(client, host, spec) if run.display_name == spec.name]
    with api_errors(host, f"pipeline version {version.name}"):
        made = client.create_recurring_run(
            experiment,
            spec.name,
            description=f"{version.name}, {cron}",
            cron_expression=cron,
            max_concurrency=max_concurrency,
            no_catchup=not catchup,
            pipeline_id=version.pipeline_id,
            version_id=version.version_id,
            service_account=spec.cluster.service_account or None,
        )
        for run in old:
            client.delete_recurring_run(run.recurring_run_id)
    return str(made.recurring_run_id), len(old)


def schedules(client: Any, host: str, namespace: str) -> list[Any]:
    """All recurring runs of a namespace."""
    return list(_pages(client, host, namespace))


def change(client: Any, host: str, namespace: str, name: str, action: str) -> None:
    """Pause, resume or delete the recurring run of a name.

    Raises:
        LitemillError: There is none of that name.
    """
    known = schedules(client, host, namespace)
    found = [run for run in known if run.display_name == name]
    if not found:
        names = [str(run.display_name) for run in known]
        hint = nearest(name, names) if names else "there are no schedules"
        raise LitemillError(f"no schedule {name!r}; {hint}", where=host)
    actions = {
        "pause": client.disable_recurring_run,
        "resume": client.enable_recurring_run,
        "delete": client.delete_recurring_run,
    }
    with api_errors(host, f"schedule {name}"):
        for run in found:
            actions[action](run.recurring_run_id)


def _all(client: Any, host: str, spec: RunSpec) -> list[Any]:
    return schedules(client, host, spec.cluster.namespace)


def _pages(client: Any, host: str, namespace: str) -> Iterator[Any]:
    token = ""
    while True:
        with api_errors(host, "recurring runs"):
            page = client.list_recurring_runs(page_token=token, page_size=100, namespace=namespace)
        yield from page.recurring_runs or []
        token = page.next_page_token or ""
        if not token:
            return
