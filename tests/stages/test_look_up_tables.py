"""A variant with look-up tables from conversion to release: measured, ranked, reported, released, registered."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as s
from numpy.typing import NDArray

import litemill as lm
from litemill.artifacts.bundle import read_bundle
from litemill.artifacts.files import sha256_of
from litemill.artifacts.layout import TFLITE, TFLM_TFLITE
from litemill.artifacts.proof import DamagedFile
from litemill.select.results import Results
from litemill.shipping.manifest import Release, Tampered
from litemill.track.flavor import open_folder, save_model
from tests.flatbuffer.generated import OP, SHAPE, Graph
from tests.workshop import write_dataset

LABELS = 3


def clustered(seed: int = 0) -> bytes:
    """A float classifier of 4×4×4 samples whose convolutions have four values in a channel, as clustering does."""
    graph, rng = Graph(np.random.default_rng(seed)), np.random.default_rng(seed)
    options = s.Conv2DOptionsT(strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1, fusedActivationFunction=1)
    for size, channels in ((4, 48), (48, 48)):
        levels = rng.normal(size=(channels, 4)).astype(np.float32) / 6
        picked = rng.integers(0, 4, (channels, 3 * 3 * size))
        weights = np.take_along_axis(levels, picked, axis=1).reshape(channels, 3, 3, size)
        bias = graph.add([channels], np.zeros(channels, np.float32))
        graph.op(OP.CONV_2D, [graph.add([channels, 3, 3, size], weights), bias], options, [*SHAPE[:3], channels])
    graph.op(OP.MEAN, [graph.numbers([1, 2])], s.ReducerOptionsT(keepDims=False), [1, 48])
    dense = graph.add([LABELS, 48], rng.normal(size=(LABELS, 48)).astype(np.float32))
    bias = graph.add([LABELS], np.zeros(LABELS, np.float32))
    graph.op(OP.FULLY_CONNECTED, [dense, bias], s.FullyConnectedOptionsT(), [1, LABELS])
    graph.op(OP.SOFTMAX, [], s.SoftmaxOptionsT(beta=1.0), [1, LABELS])
    return graph.finish()


@dataclass(frozen=True)
class Run:
    """What a run left."""

    folder: Path
    results: Results

    @property
    def variants(self) -> Path:
        return self.folder / "variants"


def samples(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, *SHAPE[1:])).astype(np.float32), rng.integers(0, LABELS, count)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Converted, evaluated and measured without TensorFlow; the winner is the smallest on `tflm`."""
    folder = tmp_path_factory.mktemp("tables")
    (folder / "source.tflite").write_bytes(clustered())
    splits = {name: samples(120, at) for at, name in enumerate(("train", "calibration", "test"))}
    data = write_dataset(folder / "data", splits, classes=LABELS)
    lm.import_model(folder / "source.tflite", data, out=folder / "model", baseline=folder / "baseline")
    recipes = {"float32": "float32", "int8": "int8"}
    deploy = {"lut": True, "lut_arena_bytes": 1 << 16}
    lm.convert(folder / "model", recipes, out=folder / "variants", dataset=data, deploy=deploy)
    base = lm.evaluate(folder / "baseline", dataset=data, out=folder / "reference")
    assert base["baseline"].status == "ok"
    lm.evaluate(folder / "variants", dataset=data, out=folder / "evaluation", reference=folder / "reference")
    lm.benchmark("tflm", folder / "variants", baseline=folder / "baseline", dataset=data, out=folder / "tflm")
    results = lm.compare(
        [folder / "variants"],
        [folder / "evaluation"],
        [folder / "tflm"],
        out=folder / "results",
        name="tables",
        objective="size:tflm",
    )
    return Run(folder, results)


@pytest.fixture(scope="module")
def released(run: Run) -> Path:
    """The release of its winner."""
    return Path(lm.release(run.folder / "results", str(run.folder / "released")))


def test_what_the_target_stores_is_the_file_with_tables(run: Run) -> None:
    variants = read_bundle(run.variants)
    lut, folder = variants["int8"].lut, run.variants / "int8"
    assert lut and lut.applied, variants["int8"].reason
    assert lut.sha256 == sha256_of(folder / TFLM_TFLITE) and variants["int8"].sha256 == sha256_of(folder / TFLITE)
    assert lut.after_bytes < 0.6 * lut.before_bytes == 0.6 * variants["int8"].size_bytes
    assert variants["float32"].lut and variants["float32"].lut.reason == "it has no int8 weights"
    assert not (run.variants / "float32" / TFLM_TFLITE).exists()

    winner = run.results.variants[0]
    assert (run.results.winner, winner.recipe) == ("int8", "int8")
    found = winner.measurements["tflm"]
    assert (found.realised_bytes, found.plain_bytes) == (lut.after_bytes, winner.size_bytes)
    assert (found.arena_bytes, found.plain_arena_bytes) == (lut.arena_after_bytes, lut.arena_before_bytes)
    other = run.results.variants[1].measurements["tflm"]
    assert (other.realised_bytes, other.plain_bytes) == (run.results.variants[1].size_bytes, None)
    page, summary = ((run.folder / "results" / name).read_text() for name in ("report.html", "summary.md"))
    assert f"sha256 {lut.sha256}" in page and "without tables" in page
    assert "`int8` on tflm: what counts is `model.tflm.tflite`" in summary


def test_a_file_with_tables_that_was_changed_counts_as_damaged(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.variants, tmp_path / "variants")
    file = tmp_path / "variants/int8" / TFLM_TFLITE
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    found = read_bundle(tmp_path / "variants")
    assert found["float32"].status == "ok" and found["int8"].status == "failed"
    assert TFLM_TFLITE in found["int8"].reason
    shutil.copytree(run.folder / "results", tmp_path / "results")
    shutil.copyfile(file, tmp_path / "results/variants/int8" / TFLM_TFLITE)
    with pytest.raises(DamagedFile, match=r"model\.tflm\.tflite"):
        lm.release(tmp_path / "results", str(tmp_path / "released"))


def test_the_release_holds_both_files_and_says_so(released: Path) -> None:
    release = Release.model_validate_json((released / "release.json").read_text())
    assert release.tables and release.tables.sha256 == sha256_of(released / TFLM_TFLITE)
    assert release.files[TFLM_TFLITE] == release.tables.sha256
    assert f"{release.tables.sha256}  {TFLM_TFLITE}\n" in (released / "SHA256SUMS").read_text()
    card = (released / "MODEL_CARD.md").read_text()
    assert release.tables.sha256 in card and "No other runtime takes it." in card
    bill = json.loads((released / "bom.cdx.json").read_text())
    hashes = {one["bom-ref"]: one.get("hashes") for one in bill["components"]}
    assert hashes[TFLM_TFLITE] == [{"alg": "SHA-256", "content": release.tables.sha256}]
    assert any(ref.startswith("pkg:pypi/tflite-micro@") for ref in hashes)
    assert lm.verify(released).tables == "bit-identical on 4 samples"


@pytest.mark.parametrize("change", ["bytes", "gone", "another"])
def test_another_file_with_tables_is_not_verified(released: Path, run: Run, tmp_path: Path, change: str) -> None:
    copy = tmp_path / "release"
    shutil.copytree(released, copy)
    file = copy / TFLM_TFLITE
    match change:
        case "bytes":
            file.write_bytes(file.read_bytes()[:-1] + b"\1")
        case "gone":
            file.unlink()
        case "another":
            shutil.copyfile(copy / TFLITE, file)
    with pytest.raises(Tampered, match=r"model\.tflm\.tflite"):
        lm.verify(copy)


def test_a_version_of_the_registry_has_both_files(run: Run, tmp_path: Path) -> None:
    folder = run.variants / "int8"
    about: dict[str, Any] = {"task": "classification", "classes": LABELS}
    save_model(folder / TFLITE, tmp_path / "saved", interface=about, tables=folder / TFLM_TFLITE)
    assert sha256_of(tmp_path / "saved" / TFLM_TFLITE) == sha256_of(folder / TFLM_TFLITE)
    assert open_folder(tmp_path / "saved").scores(samples(2, 5)[0]).shape == (2, LABELS)
    (tmp_path / "saved" / TFLM_TFLITE).write_bytes(b"other")
    with pytest.raises(DamagedFile, match=r"model\.tflm\.tflite"):
        open_folder(tmp_path / "saved")
