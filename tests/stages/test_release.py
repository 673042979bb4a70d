"""A release is immutable, and the same winner is released once."""

from __future__ import annotations

from pathlib import Path

import pytest

from litemill.artifacts.files import sha256_of, write_manifest
from litemill.artifacts.proof import DamagedFile
from litemill.errors import InputError, StepFailed
from litemill.evidence import VariantManifest
from litemill.select.results import Results, VariantResult
from litemill.stages.release import release_winner


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """What `compare` leaves, with one variant that won."""
    folder = tmp_path / "results"
    variant = folder / "variants" / "small"
    variant.mkdir(parents=True)
    (variant / "model.tflite").write_bytes(b"TFL3 the winner")
    for name in ("report.html", "summary.md"):
        (folder / name).write_text(name)
    entry = VariantResult(
        recipe="small", steps=["int8"], verdict="pass", sha256=sha256_of(variant / "model.tflite"), size_bytes=15
    )
    made = VariantManifest(recipe="small", steps=["int8"], scheme="int8", sha256=entry.sha256)
    write_manifest(variant / "variant.json", made)
    write_manifest(folder / "results.json", Results(name="run", winner="small", objective="size", variants=[entry]))
    return folder


def test_the_same_winner_is_released_once(results: Path, tmp_path: Path) -> None:
    """A nightly run must not fail because it found the same winner again."""
    first = release_winner(results, str(tmp_path / "released"))
    again = release_winner(results, str(tmp_path / "released"))
    assert first == again
    assert (Path(first) / "model.tflite").read_bytes() == b"TFL3 the winner"
    assert {file.name for file in Path(first).iterdir()} == {
        "model.tflite",
        "variant.json",
        "report.html",
        "summary.md",
        "results.json",
    }


def test_something_else_at_the_address_is_an_error_and_stays(results: Path, tmp_path: Path) -> None:
    """What is published is never overwritten."""
    address = Path(release_winner(results, str(tmp_path / "released")))
    (address / "model.tflite").write_bytes(b"tampered with")
    with pytest.raises(InputError, match="exists already"):
        release_winner(results, str(tmp_path / "released"))
    assert (address / "model.tflite").read_bytes() == b"tampered with"


def test_a_file_that_is_not_the_one_that_was_judged_is_never_released(results: Path, tmp_path: Path) -> None:
    """A damaged file must not reach a device under the name of a good one."""
    made = results / "variants/small/variant.json"
    sound = made.read_text()
    made.write_text(sound.replace(sha256_of(results / "variants/small/model.tflite"), "0" * 64))
    with pytest.raises(DamagedFile, match="its manifest says 000000000000"):
        release_winner(results, str(tmp_path / "released"))
    made.write_text(sound)
    (results / "variants/small/model.tflite").write_bytes(b"TFL3 the winneR")
    with pytest.raises(DamagedFile, match="its manifest says"):
        release_winner(results, str(tmp_path / "released"))
    assert not (tmp_path / "released").exists()


def test_without_a_winner_there_is_nothing_to_release(results: Path, tmp_path: Path) -> None:
    """And nothing is written."""
    write_manifest(results / "results.json", Results(name="run", objective="size"))
    with pytest.raises(StepFailed, match="nothing to release"):
        release_winner(results, str(tmp_path / "released"))
    assert not (tmp_path / "released").exists()
