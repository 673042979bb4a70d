"""The folders of a run: what is not Litemill's stays, and what cannot be used is refused before the run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from litemill.artifacts.files import sha256_of, write_manifest
from litemill.artifacts.proof import DamagedFile
from litemill.errors import ConfigError
from litemill.evidence.variant import VariantManifest
from litemill.pipelines.places import check_places, deliver
from litemill.select.results import Results, TargetResult, VariantResult


@pytest.fixture
def found(tmp_path: Path) -> Path:
    """What `compare` leaves, with one variant."""
    folder = tmp_path / "found"
    variant = folder / "variants/small"
    variant.mkdir(parents=True)
    (variant / "model.tflite").write_bytes(b"TFL3")
    digest = sha256_of(variant / "model.tflite")
    manifest = VariantManifest(recipe="small", steps=["int8"], scheme="int8", sha256=digest)
    write_manifest(variant / "variant.json", manifest)
    for name in ("report.html", "summary.md", "variants/small/measurement.ssh_pi_host.json"):
        (folder / name).write_text(name)
    entry = VariantResult(recipe="small", steps=["int8"], verdict="pass", sha256=digest)
    entry.measurements["ssh://pi@host"] = TargetResult()
    write_manifest(folder / "results.json", Results(name="run", winner="small", objective="size", variants=[entry]))
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def check(out: Path) -> None:
    check_places(out, Path(".litemill"))


def test_results_replace_earlier_results_and_nothing_else(found: Path, here: Path) -> None:
    out = here / "out/run"
    check(out)
    assert not out.exists()
    deliver(found, out)
    check(out)
    (found / "summary.md").write_text("another")
    deliver(found, out)
    assert (out / "summary.md").read_text() == "another"
    assert not list(here.glob("out/.*"))

    (out / "variants/small/notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"variants/small/notes\.txt"):
        check(out)
    deliver(found, out)  # it came in during the run
    assert (out / "variants/small/notes.txt").read_text() == "mine"


def test_results_of_a_version_without_a_list_are_known_as_ours(found: Path, here: Path) -> None:
    check(found)
    (found / "more.txt").touch()
    with pytest.raises(ConfigError, match=r"more\.txt"):
        check(found)


@pytest.mark.parametrize("text", ["{}", "[]", '{"accuracy": 1}', "not json", '{"name": "x", "files": ["thesis.txt"]}'])
def test_a_foreign_results_json_makes_no_folder_ours(text: str, here: Path) -> None:
    for name in ("results.json", "thesis.txt"):
        (here / "out").mkdir(exist_ok=True)
        (here / "out" / name).write_text(text)
    with pytest.raises(ConfigError, match=r"results\.json, thesis\.txt"):
        check(here / "out")
    assert (here / "out/thesis.txt").read_text() == text


def test_a_damaged_file_is_not_delivered(found: Path, here: Path) -> None:
    deliver(found, here / "out")
    (found / "variants/small/model.tflite").write_bytes(b"TFL4")
    with pytest.raises(DamagedFile, match="its manifest says"):
        deliver(found, here / "out")
    assert (here / "out/variants/small/model.tflite").read_bytes() == b"TFL3"


@pytest.mark.parametrize(
    ("out", "answer"),
    [
        ("file", "is a file"),
        ("file/below", "is a file, or below one"),
        ("x" * 256, "file name too long"),
        (".", "holds the current folder"),
        ("..", "holds"),
        ("/proc/litemill", "cannot be written"),
        ("/proc", "is a mount point"),
    ],
)
def test_a_place_that_cannot_be_used_is_refused_before_the_run(out: str, answer: str, here: Path) -> None:
    (here / "file").write_text("kept")
    with pytest.raises(ConfigError, match="--out") as refused:
        check(Path(out))
    assert answer in str(refused.value)
    assert [path.name for path in here.iterdir()] == ["file"]


def test_the_longest_name_works_and_a_work_folder_is_tried_too(found: Path, here: Path) -> None:
    check(Path("x" * 250))
    deliver(found, Path("x" * 250))
    (here / "file").touch()
    for work in ("file", "file/below", "/proc/litemill"):
        with pytest.raises(ConfigError, match="--work"):
            check_places(Path("out"), Path(work))


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "full"
    place.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(options, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_found_before_the_run(here: Path, full_disk: Path) -> None:
    with pytest.raises(ConfigError, match="no space left on device"):
        check(full_disk / "out")
    with pytest.raises(ConfigError, match="no space left on device"):
        check_places(Path("out"), full_disk / "work")
    assert not list(full_disk.iterdir())
