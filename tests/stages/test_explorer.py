"""Node data for Model Explorer: in its format, op by op, and adding up to what is known of the whole file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import litemill as lm
from litemill.artifacts.files import sha256_of, write_manifest
from litemill.artifacts.layout import TFLITE, VARIANT
from litemill.benchmark.ethos import EthosTarget
from litemill.benchmark.session import Subject
from litemill.cli import app as cli
from litemill.config.targets import parse_target
from litemill.errors import ConfigError, InputError
from litemill.evidence.variant import LayerSensitivity, VariantManifest
from litemill.flatbuffer.graph import read_graph
from litemill.slim.rewrite import slim
from tests.int8_files import Layer, int8_file

GRAPH_FIELDS = {
    *("name", "results", "thresholds", "gradient", "hideInAggregatedStatsTable", "hideInChildrenStatsTable"),
    *("hideAggregatedStats", "showExpandedSummaryOnGroupNode", "showLabelCountColumnsInChildrenStatsTable"),
}
"""What `NodeDataProviderGraphData` of Model Explorer has."""


@pytest.fixture
def variant(tmp_path: Path) -> Path:
    """Folder of a slimmed variant: its inner tensors have no names, so ops go by position."""
    folder = tmp_path / "variant"
    folder.mkdir()
    layers = (Layer("conv", 16), Layer("depthwise"), Layer("conv", 16), Layer("dense", 10))
    (folder / TFLITE).write_bytes(slim(int8_file(*layers)))
    noise = {2: 12.5, 0: 30.0, 4: 41.0}
    manifest = VariantManifest(
        recipe="int8",
        steps=["int8"],
        scheme="int8",
        sha256=sha256_of(folder / TFLITE),
        sensitivity=[LayerSensitivity(name=f"n{at}", op="X", sqnr_db=db, position=at) for at, db in noise.items()],
    )
    write_manifest(folder / VARIANT, manifest)
    return folder


def read(file: Path) -> dict[str, Any]:
    """The main graph of node data, its form checked."""
    data = json.loads(file.read_text())
    assert list(data) == ["main"], "what Model Explorer calls the first graph of a file without names"
    main: dict[str, Any] = data["main"]
    assert set(main) <= GRAPH_FIELDS and main["name"]
    assert [main["gradient"][at]["stop"] for at in (0, -1)] == [0.0, 1.0]
    assert all(len(item["bgColor"]) == 7 and item["bgColor"].startswith("#") for item in main["gradient"])
    assert all(set(one) == {"value"} and np.isfinite(one["value"]) for one in main["results"].values())
    return main


def values(file: Path) -> dict[str, float]:
    return {node: one["value"] for node, one in read(file)["results"].items()}


def test_figures_of_ops_add_up_to_those_of_the_file(variant: Path, tmp_path: Path) -> None:
    files = lm.explorer(variant, out=tmp_path / "nodes.json")
    assert {name: file.name for name, file in files.items()} == {
        name: f"nodes.{name}.json" for name in ("sensitivity", "bytes", "macs")
    }
    graph = read_graph(variant / TFLITE)
    assert list(values(files["macs"])) == ["0", "1", "2", "4"], "the op between is a mean"
    assert sum(values(files["macs"]).values()) == graph.macs
    sizes = values(files["bytes"])
    assert sizes["2"] == 16 * 16 * 9 + 4 * 16 and sizes["1"] == 16 * 9 + 4 * 16
    assert values(files["sensitivity"]) == {"0": 30.0, "2": 12.5, "4": 41.0}
    assert read(files["sensitivity"])["gradient"][0]["bgColor"] == read(files["bytes"])["gradient"][-1]["bgColor"]


def test_the_latency_of_ops_is_what_the_compiler_makes_of_each(variant: Path, tmp_path: Path) -> None:
    files = lm.explorer(variant, out=tmp_path / "nodes.json", figure="latency", target="ethos-u55-128")
    found = values(files["latency"])
    assert set(found) <= {"0", "1", "2", "3", "4"} and found["2"] == max(found.values())
    graph = read_graph(variant / TFLITE)
    subject = Subject.made(sha256_of(variant / TFLITE), variant / TFLITE, 1, graph)
    measured = EthosTarget(parse_target("ethos-u55-128")).measure([subject], np.zeros((1, 8, 8, 4), np.float32))
    whole = measured[subject.sha256].details["npu_ms"]
    assert sum(found.values()) == pytest.approx(whole, rel=1e-3)
    assert "ethos-u55-128" in read(files["latency"])["name"]


def test_what_cannot_be_shown_says_why(variant: Path, tmp_path: Path) -> None:
    out = tmp_path / "nodes.json"
    (tmp_path / "torn.tflite").write_bytes((variant / TFLITE).read_bytes()[:700])
    alone = tmp_path / "alone.tflite"
    alone.write_bytes((variant / TFLITE).read_bytes())
    for source, options, error, match in [
        (variant, {"figure": "byte"}, ConfigError, "did you mean 'bytes'"),
        (variant, {"figure": "latency"}, ConfigError, "needs a target"),
        (variant, {"figure": "latency", "target": "tflm"}, ConfigError, "tflm tells no latency of single ops"),
        (variant, {"figure": "latency", "target": "ethos-u55-12"}, ConfigError, "did you mean 'ethos-u55-128'"),
        (alone, {"figure": "sensitivity"}, InputError, "nothing is known of sensitivity"),
        (tmp_path / "torn.tflite", {}, InputError, "damaged"),
        (tmp_path / "nothing", {}, InputError, "nothing"),
    ]:
        with pytest.raises(error, match=match):
            lm.explorer(source, out=out, **options)  # type: ignore[arg-type]
    assert not list(tmp_path.glob("*.json"))
    out.write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        lm.explorer(variant, out=out, figure="bytes")
    assert out.read_text() == "mine"


def test_the_command_names_its_files(variant: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.app, ["explorer", str(variant), "-o", str(tmp_path / "nodes.json"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["bytes"] == str(tmp_path / "nodes.bytes.json")
    one = ["explorer", str(variant / TFLITE), "-o", str(tmp_path / "one.json"), "--figure", "macs"]
    assert CliRunner().invoke(cli.app, one).exit_code == 0
    assert values(tmp_path / "one.json")


def test_evidence_of_another_file_is_not_shown(variant: Path, tmp_path: Path) -> None:
    (variant / TFLITE).write_bytes(slim(int8_file(Layer("conv", 8))))
    assert "sensitivity" not in lm.explorer(variant, out=tmp_path / "nodes.json")
