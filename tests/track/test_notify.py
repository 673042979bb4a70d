"""Webhooks are told how a run ended, and none of them ever fails it or shows its address."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from litemill.config.load import load_config
from litemill.config.run import Budget
from litemill.errors import ConfigError
from litemill.stages import notify as sending
from litemill.stages.finish import finish_run
from litemill.stages.notify import notify
from litemill.track import compare_runs, log_variants, start_run
from litemill.track.outcome import Outcome
from litemill.track.register import register
from tests.small_run import Small, write_small

TOKEN = "T0K3N-in-the-path"


class Receiver(ThreadingHTTPServer):
    """A loopback server that keeps what is posted to it; paths say how it behaves."""

    daemon_threads = True

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    def address(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.server_port}/services/{TOKEN}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/slow"):
            self.server.got.append({"slow": True})
            time.sleep(30)
            return
        self.server.got.append(body)
        self.send_response({"500": 500, "moved": 302}.get(self.path.rpartition("/")[2], 200))
        self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    for limit in ("SECONDS_TO_ANSWER", "SECONDS_IN_ALL"):  # a busy machine is slow, too
        monkeypatch.setattr(sending, limit, 120.0)
    server = Receiver()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def hook(kind: str = "json", *on: str) -> dict[str, Any]:
    return {"kind": kind, "on": list(on or ("failure", "winner", "no_winner", "promotion")), "variable": "HOOK"}


def test_a_run_tells_its_verdict_the_difference_and_links(
    store: Path, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", receiver.address())
    monkeypatch.setenv("KFP_PIPELINE_RUN_URL", "https://kubeflow.example/runs/p1")
    parent = start_run("weather", {}, pipeline_run_id="p1")
    variants, evaluation, measured = write_small(tmp_path / "in", Small())
    ids = log_variants(parent, variants, evaluation, [measured])
    compare_runs(parent, ids, name="weather", budget=Budget(), objective="size", out=tmp_path / "out")
    register(tmp_path / "out", "weather")
    told = [hook("json"), hook("slack"), hook("teams", "promotion"), hook("json", "failure")]
    finish_run("weather", "p1", "SUCCEEDED", webhooks=told)

    plain, slack, teams = receiver.got
    assert plain["title"] == "weather: ship int8" and plain["events"] == ["winner", "promotion"]
    assert plain["registered"] == "models:/weather/1" and plain["promotion"] == "the first winner"
    assert plain["figures"]["winner/accuracy"] == 0.9
    assert plain["links"]["Kubeflow"] == "https://kubeflow.example/runs/p1"
    [block] = slack["blocks"]
    assert "*weather: ship int8*" in block["text"]["text"]
    assert "Against the float32: accuracy 0.9000 (+0.0000)" in block["text"]["text"]
    assert "<https://kubeflow.example/runs/p1|Kubeflow>" in block["text"]["text"]
    [card] = teams["attachments"]
    assert card["content"]["type"] == "AdaptiveCard" and card["content"]["body"][0]["text"] == "weather: ship int8"


def test_a_run_that_failed_is_told_with_its_reason(
    store: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", receiver.address())
    start_run("weather", {}, pipeline_run_id="p1")
    finish_run("weather", "p1", "FAILED", "task ptq failed: <no> & https://me:hunter2@host", webhooks=[hook("slack")])
    finish_run("never started", "p2", "FAILED", "it broke", webhooks=[hook("json", "failure")])
    text = receiver.got[0]["blocks"][0]["text"]["text"]
    assert "*weather: the run did not finish*" in text and "&lt;no&gt; &amp;" in text and "hunter2" not in text
    assert receiver.got[1]["error"] == "it broke"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/500", "it answered 500"),
        ("/moved", "it answered 302"),
        ("/slow", "it did not answer in time"),
        ("dead", "it cannot be reached"),
        ("none", "its variable is not set"),
        ("file", "its variable does not hold an http(s) address"),
    ],
)
def test_a_webhook_that_fails_is_a_warning_without_its_address(
    path: str, problem: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    odd = {"dead": f"http://127.0.0.1:9/{TOKEN}", "none": "", "file": f"file:///etc/{TOKEN}"}
    monkeypatch.setenv("HOOK", odd.get(path, receiver.address(path)))
    if path == "/slow":
        monkeypatch.setattr(sending, "SECONDS_IN_ALL", 3.0)
    with caplog.at_level(logging.DEBUG):
        problems = notify(Outcome(name="weather", state="FAILED"), [hook()])
    assert len(problems) == 1 and problem in problems[0] and problems[0].startswith("notify.0 (json, HOOK)")
    assert TOKEN not in caplog.text + problems[0]
    assert len(receiver.got) == (path in ("/500", "/moved", "/slow")), "nothing is posted elsewhere"


def test_only_what_was_asked_for_is_told(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", receiver.address())
    for outcome, events in (
        (Outcome(name="w", state="SUCCEEDED", compared=True, winner="a"), ["winner"]),
        (Outcome(name="w", state="SUCCEEDED", compared=True), ["no_winner"]),
        (Outcome(name="w", state="SUCCEEDED", compared=True, winner="a", promoted=True), ["winner", "promotion"]),
        (Outcome(name="w", state="CANCELLED"), ["failure"]),
        (
            Outcome(name="w", state="SUCCEEDED", compared=True, winner="a", error="MLflow is down"),
            ["failure", "winner"],
        ),
    ):
        assert outcome.events == events
        for event in ("failure", "winner", "no_winner", "promotion"):
            before = len(receiver.got)
            notify(outcome, [hook("json", event)])
            assert (len(receiver.got) - before == 1) == (event in events)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (f"{{url_env: 'https://hooks.example/{TOKEN}'}}", "notify.0.url_env looks like a secret"),
        ("{url: x}", "unknown key 'notify.0.url'; did you mean 'url_env'"),
        ("{url_env: hooks.example/hook}", "notify.0.url_env: is an address, and whoever has it can post"),
        (f"{{url: 'https://hooks.example/{TOKEN}'}}", "notify.0.url looks like a secret"),
        ("{kind: slack}", "notify.0: names no address: give url_env (a variable) or secret"),
        ("{url_env: HOOK, on: [winer]}", "notify.0.on.0: Input should be 'failure', 'winner'"),
        ("{url_env: HOOK, on: []}", "notify.0.on"),
        ("{url_env: HOOK, kind: mail}", "notify.0.kind"),
    ],
)
def test_a_wrong_webhook_is_refused_without_its_address(written: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        f"name: x\nmodel: {{uri: m.keras}}\ndata: {{kind: digits}}\nrecipes: {{int8: [int8]}}\nnotify:\n  - {written}\n"
    )
    with pytest.raises(ConfigError) as error:
        load_config(file)
    assert message in str(error.value) and TOKEN not in str(error.value)
