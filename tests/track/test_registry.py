"""The registry: a winner becomes a version with its evidence, and the champion moves by proof or by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from litemill.artifacts.files import sha256_of, write_manifest
from litemill.cli import console
from litemill.cli.app import app
from litemill.config.run import Budget
from litemill.errors import InputError, StepFailed
from litemill.evidence.champion import ChampionVersion
from litemill.evidence.variant import VariantManifest
from litemill.track import compare_runs, log_variants, start_run, tracking_uri
from litemill.track.flavor import load_model
from litemill.track.promotion import history, promote, rollback
from litemill.track.register import Registration, register
from litemill.track.registry import champion_version, fetch_champion
from tests.small_run import SCALE, Small, samples, write_small

Ran = Callable[..., Path]


@pytest.fixture
def run(store: Path, tmp_path: Path) -> Ran:
    """A run whose winner has weights by a seed; `against` is the champion's version that it was compared with."""
    count = iter(range(100))

    def ran(seed: int, against: str = "") -> Path:
        name = f"p{next(count)}"
        parent = start_run("weather", {"data": {"kind": "npz"}}, pipeline_run_id=name)
        variants, evaluation, measured = write_small(tmp_path / name, Small(seed=seed))
        ids = log_variants(parent, variants, evaluation, [measured])
        out = tmp_path / name / "out"
        compare_runs(parent, ids, name="weather", budget=Budget(), objective="size", out=out)
        if against:
            known = ChampionVersion(name="weather", version=against)
            stood = VariantManifest(recipe="champion", steps=[], scheme="", champion=known)
            write_manifest(out / "variants/champion/variant.json", stood)
        return out

    return ran


def aliases() -> dict[str, str]:
    found = MlflowClient(tracking_uri=tracking_uri()).get_registered_model("weather").aliases
    return {alias: str(version) for alias, version in found.items()}


def test_the_first_winner_is_the_champion_and_keeps_its_evidence(run: Ran, tmp_path: Path) -> None:
    out = run(0)
    made = register(out, "weather")

    assert (made.version, made.promoted, made.before) == ("1", True, "")
    assert aliases() == {"challenger": "1", "champion": "1"}
    client = MlflowClient(tracking_uri=tracking_uri())
    version = client.get_model_version("weather", "1")
    file = out / "variants/int8/model.tflite"
    assert version.tags["litemill.sha256"] == sha256_of(file) == made.sha256
    assert version.tags["litemill.accuracy"] == "0.9" and version.tags["litemill.data_sha256"] == "d" * 64
    parent = json.loads((out / "results.json").read_text())["mlflow_run_id"]
    assert client.get_run(parent).data.tags["litemill.registered_model"] == "models:/weather/1"
    assert client.get_run(version.run_id).data.tags["litemill.recipe"] == "int8"

    fetched = fetch_champion(champion_version("weather"), tmp_path / "fetched")
    assert fetched.file.read_bytes() == file.read_bytes()
    assert fetched.evidence and fetched.evidence.steps == ["prune", "int8"]


def test_the_registered_model_answers_raw_samples_with_labels(run: Ran) -> None:
    out = run(0)
    register(out, "weather")

    model = load_model("models:/weather@champion")
    raw = samples(3) / SCALE
    with np.load(out / "variants/int8/probe.npz") as probe:
        np.testing.assert_allclose(model.scores(raw), probe["outputs"][:3], rtol=1e-5)
    answers = model.predict(raw)
    assert list(answers["label"]) == [["sun", "rain", "snow"][row.argmax()] for row in model.scores(raw)]
    assert model.scores(raw[0]).shape == (1, 3), "one sample may come alone"
    with pytest.raises(InputError, match=r"a sample has shape \[5, 4, 4\], it takes \[4, 4, 4\]"):
        model.scores(np.zeros((1, 5, 4, 4)))


def test_the_same_file_is_registered_once(run: Ran) -> None:
    register(run(0), "weather")
    again = register(run(0, against="1"), "weather")

    assert (again.version, again.new, again.promoted) == ("1", False, False)
    assert again.reason == "it is the champion already"
    assert len(history("weather")) == 1


def test_the_champion_moves_only_where_the_winner_was_compared_with_it(run: Ran) -> None:
    register(run(0), "weather")

    unproved = register(run(1), "weather")
    assert not unproved.promoted and "not compared with the champion, version 1" in unproved.reason
    assert aliases() == {"challenger": "2", "champion": "1"}

    proved = register(run(2, against="1"), "weather")
    assert (proved.promoted, proved.before, proved.champion) == (True, "1", "3")
    assert aliases() == {"challenger": "3", "champion": "3", "previous": "1"}

    late = register(run(3, against="1"), "weather")
    assert not late.promoted and "became version 3 while the run compared with version 1; run again" in late.reason


def test_a_person_promotes_and_goes_back_step_by_step(run: Ran) -> None:
    def registered(seed: int, against: str) -> Registration:
        return register(run(seed, against), "weather", promote="manual")

    assert not registered(0, "").promoted, "manual means that the first winner waits as well"
    assert promote("weather").after == "1"
    registered(1, "1")
    assert promote("weather", reason="looked at by the team").before == "1"
    registered(2, "2")
    promote("weather")
    assert aliases() == {"challenger": "3", "champion": "3", "previous": "2"}

    assert rollback("weather", reason="users complain").after == "2"
    assert aliases() == {"challenger": "3", "champion": "2", "previous": "1"}
    assert rollback("weather").after == "1"
    assert aliases() == {"challenger": "3", "champion": "1"}
    with pytest.raises(InputError, match="no champion before version 1, so there is no way back"):
        rollback("weather")

    back = register(run(2, against="1"), "weather")
    assert not back.promoted and "it was rolled back before" in back.reason, "the gate does not overrule a person"
    assert promote("weather", "3").after == "3"
    told = [(move.action, move.by) for version in history("weather") for move in version.decisions]
    assert ("rolled back", "gate") not in told and ("promoted", "gate") not in told
    with pytest.raises(InputError, match="version 3 is the champion already"):
        promote("weather", "3")
    with pytest.raises(InputError, match="has no version 9"):
        promote("weather", "9")
    with pytest.raises(InputError, match="no registered model of that name; there are: weather"):
        rollback("other")


def test_the_history_is_told_to_people_and_programs(
    run: Ran, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(run(0), "weather")
    register(run(1, against="1"), "weather")
    register(run(1, against="2"), "weather")

    def shown(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["litemill", *words])
        with pytest.raises(SystemExit) as ended:
            console.run(app)
        assert not ended.value.code
        return capsys.readouterr().out

    found = json.loads(shown("history", "weather", "--json"))
    assert [one["version"] for one in found] == ["2", "1"]
    assert found[0]["aliases"] == ["challenger", "champion"] and found[1]["aliases"] == ["previous"]
    assert [move["reason"] for move in found[0]["decisions"]] == [
        "not worse than the champion before, version 1",
        "it is the champion already",
    ]
    text = shown("history", "weather")
    assert "version 2 (challenger, champion)" in text and "promoted by gate: the first winner" in text
    assert "champion: version 1, before version 2" in shown("rollback", "weather", "--reason", "too slow")
    assert "rolled back by" in shown("history", "weather") and "too slow" in shown("history", "weather")


def test_what_cannot_be_registered_is_refused(run: Ran, tmp_path: Path) -> None:
    out = run(0)
    (out / "variants/int8/model.tflite").write_bytes(b"TFL3 another")
    with pytest.raises(Exception, match="its manifest says"):
        register(out, "weather")
    results = json.loads((out / "results.json").read_text())
    (out / "results.json").write_text(json.dumps({**results, "winner": ""}))
    with pytest.raises(StepFailed, match="nothing to register"):
        register(out, "weather")
    assert not MlflowClient(tracking_uri=tracking_uri()).search_registered_models()
