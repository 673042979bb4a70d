"""The cache of a local run serves what is whole and unchanged, and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from litemill.artifacts.files import sha256_of, write_manifest
from litemill.errors import ConfigError
from litemill.evidence.variant import VariantManifest
from litemill.pipelines.cache import TaskCache
from litemill.pipelines.cleaning import clean, seconds_of
from litemill.pipelines.leftovers import recorded


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work folder with one run: a bundle in the cache, and a folder that no entry speaks of."""
    variant = tmp_path / "pipeline/run/ptq/variants/small"
    variant.mkdir(parents=True)
    (variant / "model.tflite").write_bytes(b"TFL3")
    digest = sha256_of(variant / "model.tflite")
    write_manifest(
        variant / "variant.json", VariantManifest(recipe="small", steps=["int8"], scheme="int8", sha256=digest)
    )
    (tmp_path / "pipeline/run/compare").mkdir()
    (tmp_path / "pipeline/run/compare/report.html").write_text("report")
    TaskCache(tmp_path / "cache").put("key", outputs(tmp_path))
    return tmp_path


def outputs(work: Path) -> dict[str, Any]:
    place = str(work / "pipeline/run/ptq/variants")
    return {"variants": dsl.Artifact(name="variants", uri=place, metadata={"a": 1}), "Output": "text"}


def get(work: Path) -> dict[str, Any] | None:
    return TaskCache(work / "cache").get("key")


def test_an_entry_is_served_as_it_was_kept(work: Path) -> None:
    found = get(work)
    assert found
    assert found["Output"] == "text"
    assert (found["variants"].uri, found["variants"].metadata) == (outputs(work)["variants"].uri, {"a": 1})
    assert TaskCache(work / "cache").get("other") is None


@pytest.mark.parametrize(
    "text", ["[]", "{}", "", "null", '{"outputs": {}}', '{"outputs": [], "artifacts": {"x": 1}}', "\x00"]
)
def test_an_entry_that_is_none_is_a_miss(text: str, work: Path) -> None:
    (work / "cache/key.json").write_text(text)
    assert get(work) is None


@pytest.mark.parametrize("passing", [True, False])
def test_what_failed_for_want_of_memory_is_tried_again_and_what_cannot_work_is_not(passing: bool, work: Path) -> None:
    failed = VariantManifest(recipe="small", steps=["int8"], scheme="int8", status="failed", passes=passing)
    write_manifest(work / "pipeline/run/ptq/variants/small/variant.json", failed)
    TaskCache(work / "cache").put("later", outputs(work))
    assert (TaskCache(work / "cache").get("later") is None) == passing


@pytest.mark.parametrize("damage", ["gone", "half", "more", "changed", "cut short"])
def test_an_artifact_that_is_not_as_it_was_is_a_miss(damage: str, work: Path) -> None:
    folder = work / "pipeline/run/ptq/variants/small"
    match damage:
        case "gone":
            (work / "pipeline/run/ptq").rename(work / "elsewhere")
        case "half":
            (folder / "model.tflite").unlink()
        case "more":
            (folder / "other").touch()
        case "changed":
            (folder / "variant.json").write_text((folder / "variant.json").read_text())
        case "cut short":
            (work / "cache/key.json").write_text((work / "cache/key.json").read_text()[:-9])
    assert get(work) is None


def test_a_damaged_tflite_is_a_miss_even_where_size_and_time_say_nothing(work: Path) -> None:
    file = work / "pipeline/run/ptq/variants/small/model.tflite"
    state = file.stat()
    file.write_bytes(b"TFL4")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert get(work) is None


def test_the_key_knows_all_that_decides_a_task(work: Path) -> None:
    cache, artifact = TaskCache(work / "cache"), outputs(work)["variants"]
    usual: dict[str, Any] = {
        "component": "prune", "image": "i", "command": ["a"], "arguments": {"x": 1, "m": artifact}, "env": {"CODE": "1"}
    }  # fmt: skip
    other = dsl.Artifact(name="variants", uri="elsewhere")
    changes: list[dict[str, Any]] = [
        {"component": "cluster"},
        {"image": "j"},
        {"command": ["b"]},
        {"arguments": {"x": 2, "m": artifact}},
        {"arguments": {"x": 1, "m": other}},
        {"env": {"CODE": "2"}},
    ]
    keys = [cache.key(**{**usual, **change}) for change in ({}, {}, *changes)]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 1 + len(changes)


def test_cleaning_removes_what_no_entry_speaks_of_and_keeps_the_rest(work: Path) -> None:
    found = clean(work)
    assert (found.entries, found.folders) == (0, 1)
    assert not (work / "pipeline/run/compare").exists()
    assert get(work)
    assert clean(work, older=3600.0).folders == 0

    (work / "cache/old.json").write_text(json.dumps({"old": "format"}))
    entry = work / "cache/key.json"
    os.utime(entry, (0, 0))
    found = clean(work, older=seconds_of("30d"))
    assert (found.entries, found.folders) == (2, 1)
    assert not (work / "pipeline/run").exists()


def test_a_run_that_goes_on_keeps_its_folder(work: Path) -> None:
    with recorded(work, "run", "small"):
        assert clean(work, older=0.0).folders == 0
    assert clean(work, older=0.0).folders == 2


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1y", "99999999d", "1.5d"])
def test_an_age_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not an age"):
        seconds_of(text)
    assert seconds_of("2w") == 14 * 86400
