"""`submit`, `schedule`, `schedules` and `status` against a Kubeflow API on loopback, errors included."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from kubeflow_api import KubeflowApi, serving

from litemill.cli import console
from litemill.cli.app import app
from litemill.errors import ConfigError
from litemill.pipelines.schedules import next_times

ROOT = Path(__file__).parents[2]
CONFIG = "pipelines/digits/config.yaml"


@dataclass
class Shown:
    """What a command line ended with and showed."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Shown]
Served = tuple[str, KubeflowApi]


@pytest.fixture
def server() -> Iterator[Served]:
    """A fresh server."""
    with serving() as served:
        yield served


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `litemill …` as a user would, in this process: kfp takes a second to import."""
    monkeypatch.setenv("LITEMILL_POLL_SECONDS", "0.2")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(ROOT)

    def run(*words: str, token: str = "") -> Shown:
        monkeypatch.setenv("LITEMILL_KFP_TOKEN", token)
        monkeypatch.setattr(sys, "argv", ["pipelines", *words])
        with pytest.raises(SystemExit) as ended:
            console.run(app)
        return Shown(int(ended.value.code or 0), *capsys.readouterr())

    return run


def test_submit_uploads_a_version_once_and_starts_a_run_each_time(command: Command, server: Served) -> None:
    """The version is named after what was compiled: the same config is not uploaded again."""
    host, state = server
    first, second = command("submit", CONFIG, "--host", host), command("submit", CONFIG, "--host", host)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "uploaded" in first.stdout
    assert "already there" in second.stdout
    uploaded = [version.display_name for version in state.versions.values() if version.display_name != "digits"]
    assert len(uploaded) == 1
    assert len(state.runs) == 2
    assert len(state.experiments) == 1


def test_scheduling_twice_leaves_one_recurring_run(command: Command, server: Served) -> None:
    """Kubeflow has no upsert; the second call replaces the first."""
    host, state = server
    created = command("schedule", CONFIG, "--host", host, "--cron", "0 0 3 * * *")
    replaced = command("schedule", CONFIG, "--host", host, "--cron", "0 30 4 * * *", "--no-catchup")
    assert "schedule digits created" in created.stdout, created.stderr
    assert "schedule digits replaced" in replaced.stdout, replaced.stderr
    assert replaced.stdout.count("04:30:00 UTC") == 5
    [kept] = state.recurring.values()
    assert kept.trigger.cron_schedule.cron == "0 30 4 * * *"
    assert kept.no_catchup is True


def test_a_schedule_is_listed_paused_resumed_and_deleted_by_name(command: Command, server: Served) -> None:
    """What an operator does to a nightly run."""
    host, state = server
    command("schedule", CONFIG, "--host", host, "--cron", "0 0 3 * * *")
    [kept] = state.recurring.values()
    assert "DISABLED" in command("schedules", "--host", host, "--pause", "digits").stdout
    assert "ENABLED" in command("schedules", "--host", host, "--resume", "digits").stdout
    unknown = command("schedules", "--host", host, "--delete", "digit")
    assert unknown.returncode == 1
    assert "no schedule 'digit'; did you mean 'digits'?" in unknown.stderr
    assert kept.recurring_run_id in state.recurring
    assert command("schedules", "--host", host, "--delete", "digits").returncode == 0
    assert not state.recurring


@pytest.mark.parametrize(("ended", "code"), [("SUCCEEDED", 0), ("FAILED", 1)])
def test_status_shows_the_tasks_and_how_the_run_ended(command: Command, server: Served, ended: str, code: int) -> None:
    """The exit code is the run's."""
    host, state = server
    command("submit", CONFIG, "--host", host)
    [run_id] = state.runs
    waiting = command("status", run_id, "--host", host)
    assert (waiting.returncode, "pending" in waiting.stdout) == (0, True), waiting.stderr
    state.finish(run_id, ended, {"start-run": "SUCCEEDED", "import-model": ended})
    shown = command("status", run_id, "--host", host, "--follow")
    assert shown.returncode == code
    assert f"import-model {'':<21} {ended.lower()}" in shown.stdout


def test_a_token_is_sent_and_never_shown(command: Command, server: Served) -> None:
    """Secrets come by environment and stay out of the output."""
    host, state = server
    done = command("schedules", "--host", host, token="s3cret-token")
    assert done.returncode == 0, done.stderr
    assert set(state.tokens) == {"Bearer s3cret-token"}
    assert "s3cret-token" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("status", "answer"),
    [(401, "asks who you are (401)"), (403, "refuses this user or service account (403)"), (500, "answered 500: boom")],
)
def test_an_error_of_the_server_is_one_line(command: Command, server: Served, status: int, answer: str) -> None:
    """No traceback of a generated client."""
    host, state = server
    state.refuse = (status, "boom")
    done = command("schedules", "--host", host)
    assert done.returncode == 1
    assert answer in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_run_is_named(command: Command, server: Served) -> None:
    """A mistyped id."""
    host, _ = server
    done = command("status", "no-such-run", "--host", host)
    assert done.returncode == 1
    assert "knows no run no-such-run (404)" in done.stderr


def test_an_unreachable_host_and_no_url_are_told(command: Command) -> None:
    """Nobody listens on port 9 of loopback."""
    away = command("schedules", "--host", "http://127.0.0.1:9")
    assert (away.returncode, "cannot be reached" in away.stderr) == (1, True), away.stderr
    wrong = command("schedules", "--host", "localhost:8080")
    assert (wrong.returncode, "is no URL" in wrong.stderr) == (2, True)


@pytest.mark.parametrize(
    ("cron", "answer"),
    [("0 3 * * *", "has 5 fields"), ("0 0 25 * * *", "is no cron expression"), ("0 0 3 * * mon-", "is no cron")],
)
def test_a_cron_that_kubeflow_would_refuse_is_refused_here(cron: str, answer: str) -> None:
    """The client accepts any string, only the server refuses."""
    with pytest.raises(ConfigError, match=answer):
        next_times(cron)


def test_the_next_times_of_a_schedule() -> None:
    """Seconds come first."""
    start = datetime(2026, 1, 30, 12, tzinfo=UTC)
    assert [time.isoformat() for time in next_times("30 0 3 ? * MON", 2, start)] == [
        "2026-02-02T03:00:30+00:00",
        "2026-02-09T03:00:30+00:00",
    ]
