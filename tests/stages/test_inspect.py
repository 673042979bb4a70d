"""Counts that are known of ResNet-like, depthwise and dense models, delegation, and the commands that show them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from typer.testing import CliRunner

from litemill.artifacts.files import read_manifest
from litemill.cli import app as cli
from litemill.convert.findings import Findings
from litemill.errors import InputError
from litemill.flatbuffer import read_graph, read_model
from litemill.flatbuffer.accelerators import ACCELERATORS
from litemill.flatbuffer.delegation import ask_xnnpack
from litemill.flatbuffer.fusion import count_folded
from litemill.slim.files import slim_files
from litemill.slim.rewrite import slim
from litemill.slim.sharing import pack_shared
from litemill.stages.inspect import differences, inspect_file
from tests.workshop import workshop
from tests.zoo import tflite

RUN = CliRunner()


def test_resnet() -> None:
    graph = read_graph(tflite("resnet", "int8"))
    assert graph.ops == {"CONV_2D": 9, "ADD": 3, "MEAN": 1, "FULLY_CONNECTED": 1, "SOFTMAX": 1}
    assert graph.fused_activations == {"RELU": 7}
    stacks = [(16, 3, 8), (16, 8, 8), (16, 8, 8), (8, 8, 16), (8, 16, 16), (4, 16, 32), (4, 32, 32)]
    macs = sum(size * size * 9 * inputs * outputs for size, inputs, outputs in stacks)
    shortcuts = 8 * 8 * 8 * 16 + 4 * 4 * 16 * 32
    assert graph.macs_by_op == {"CONV_2D": macs + shortcuts, "FULLY_CONNECTED": 320}
    assert (graph.conversions, graph.float_ops) == (0, {})


def custom_op(path: Path, name: bytes = b"ethos-u") -> Path:
    """A file with one op that only a vendor's runtime knows."""
    model = read_model(tflite("dense", "int8"))
    model.operatorCodes[model.subgraphs[0].operators[0].opcodeIndex].customCode = name
    code = model.operatorCodes[model.subgraphs[0].operators[0].opcodeIndex]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    for op in model.subgraphs[0].operators:
        if model.operatorCodes[op.opcodeIndex] is code:
            op.builtinOptions, op.builtinOptionsType = None, 0
    path.write_bytes(pack_shared(model))
    return path


def test_a_file_that_litert_cannot_run_is_read_and_compared_all_the_same(tmp_path: Path) -> None:
    """Compiled for an NPU, or with a vendor's ops: what the flatbuffer says is said, and why it cannot be run."""
    file = custom_op(tmp_path / "vendor.tflite")
    found = inspect_file(file)
    assert "ethos-u" in found.graph.ops
    assert found.graph.weights
    assert found.graph.inputs[0].dtype == "int8"
    assert re.search("LiteRT cannot run it: .*ethos-u", found.cannot_run)
    assert "xnnpack" not in found.graph.delegation
    assert inspect_file(tflite("dense", "int8")).cannot_run == ""
    shown = RUN.invoke(cli.app, ["inspect", str(file)])
    assert shown.exit_code == 0
    assert "LiteRT cannot run it" in shown.output
    other = RUN.invoke(cli.app, ["diff", str(file), str(tflite("dense", "int8"))])
    assert other.exit_code == 1
    assert "op ethos-u" in other.output


def test_what_cannot_be_proved_is_not_slimmed(tmp_path: Path) -> None:
    file = custom_op(tmp_path / "vendor.tflite")
    before = file.read_bytes() + bytes(64)
    file.write_bytes(before)
    report = slim_files({"vendor": file})["vendor"]
    assert not report.applied
    assert "nothing proves" in report.reason
    assert file.read_bytes() == before
    assert report.after_bytes == report.before_bytes == len(before)


def test_depthwise() -> None:
    graph = read_graph(tflite("ds_cnn", "int8"))
    assert (graph.ops["CONV_2D"], graph.ops["DEPTHWISE_CONV_2D"]) == (5, 4)
    positions = 25 * 5
    assert graph.macs_by_op["DEPTHWISE_CONV_2D"] == 4 * positions * 9 * 64
    assert graph.macs_by_op["CONV_2D"] == positions * 64 * 40 + 4 * positions * 64 * 64
    assert graph.macs == sum(graph.macs_by_op.values())


@pytest.mark.parametrize(
    ("name", "folded", "biases"),
    [
        ("resnet", {"batch_norm": 7, "bias": 6, "activation": 7}, 9),
        ("ds_cnn", {"batch_norm": 9, "bias": 1, "activation": 9}, 9),
        ("dense", {"bias": 4, "activation": 3}, 0),
    ],
)
@pytest.mark.parametrize("scheme", ["float32", "int8"])
def test_what_was_folded_is_counted(name: str, scheme: str, folded: dict[str, int], biases: int) -> None:
    path = tflite(name, scheme)
    before = read_manifest(path.with_name("findings.json"), Findings).ops_before
    graph = read_graph(path)
    assert count_folded(before, graph.ops) == folded
    # The converter leaves out biases that are all zero, which those of an untrained dense layer are.
    assert graph.biases == biases


def test_what_could_not_be_folded_is_not_counted() -> None:
    before = {"Conv2D": 2, "FusedBatchNormV3": 2, "BiasAdd": 3, "Relu": 2, "AddV2": 1, "Mul": 1}
    # One BatchNorm stands as MUL and ADD, one bias as ADD, one activation alone.
    after = {"CONV_2D": 2, "MUL": 2, "ADD": 3, "RELU": 1}
    assert count_folded(before, after) == {"batch_norm": 1, "bias": 2, "activation": 1}
    assert count_folded({"MatMul": 1}, {"FULLY_CONNECTED": 1}) == {}


def test_bytes_of_each_weight_are_those_of_its_dtype() -> None:
    for scheme, size in (("float32", 4), ("float16", 2), ("int8", 1)):
        weights = [weight for weight in read_graph(tflite("dense", scheme)).weights if len(weight.shape) == 2]
        assert [weight.bytes for weight in weights] == [size * np.prod(weight.shape) for weight in weights]


def test_dense() -> None:
    graph = read_graph(tflite("dense", "float16"))
    assert graph.ops["FULLY_CONNECTED"] == 4
    assert graph.macs == 64 * 32 + 32 * 8 + 8 * 32 + 32 * 64
    assert graph.conversions == 0, "unpacking a constant weight is no conversion of an activation"
    assert graph.fused_activations == {"RELU": 3}


def test_fusion_is_told_before_and_after() -> None:
    graph = workshop().manifests["int8"].graph
    assert graph is not None
    assert graph.folded == {"batch_norm": 2, "bias": 2, "activation": 2}
    assert graph.ops_before["FusedBatchNormV3"] == 2
    assert graph.ops_before["BiasAdd"] >= 1
    assert not {"Const", "Identity", "Placeholder"} & set(graph.ops_before)
    assert sum(graph.ops_before.values()) > sum(graph.ops.values())


@pytest.mark.parametrize(
    ("scheme", "accelerator", "fraction", "reason"),
    [
        ("int8", "ethos-u", 1.0, None),
        ("int8", "edgetpu", 1.0, None),
        ("float32", "edgetpu", 0.0, "float32 not supported"),
        ("float32", "gpu", 1.0, None),
        ("int16x8", "gpu", 0.0, "int16"),
    ],
)
def test_predictions(scheme: str, accelerator: str, fraction: float, reason: str | None) -> None:
    found = read_graph(tflite("ds_cnn", scheme)).delegation[accelerator]
    assert (found.kind, found.ops_fraction, found.macs_fraction) == ("predicted", fraction, fraction)
    assert found.source
    assert all(reason is not None and reason in why for why in found.left.values())
    assert bool(found.left) == (fraction < 1)


def test_the_rules_for_ethos_u_are_those_of_the_installed_vela(tmp_path: Path) -> None:
    """Vela writes its table of operators itself."""
    subprocess.run(
        [sys.executable, "-P", "-m", "ethosu.vela", "--supported-ops-report"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    report = (tmp_path / "SUPPORTED_OPS.md").read_text()
    table = report.partition("## Ethos-U55 and Ethos-U65 TFLite Summary Table")[2].partition("\n## ")[0]
    assert ACCELERATORS["ethos-u"].ops == set(re.findall(r"^\| ([A-Z][A-Z0-9_]+) \|", table, re.MULTILINE))


def test_behind_an_op_that_the_edge_tpu_leaves_out_everything_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its compiler cuts the graph once: what follows runs on the CPU, however well supported it is."""
    rules = ACCELERATORS["edgetpu"]
    lacking = replace(rules, ops=rules.ops - {"DEPTHWISE_CONV_2D"})
    monkeypatch.setitem(ACCELERATORS, "edgetpu", lacking)
    ops = list(read_model(tflite("ds_cnn", "int8")).subgraphs[0].operators)
    found = read_graph(tflite("ds_cnn", "int8")).delegation["edgetpu"]
    first = min(int(op.split()[0]) for op in found.left)
    assert first > 0
    assert found.ops_fraction == first / len(ops)
    assert found.left[f"{first} DEPTHWISE_CONV_2D"] == "op not supported"
    assert found.left[f"{first + 1} CONV_2D"] == "behind an op that is left out"


def test_xnnpack_takes_float_whole_int8_but_for_its_softmax_and_nothing_of_int16() -> None:
    whole, most, nothing = (ask_xnnpack(tflite("ds_cnn", scheme)) for scheme in ("float32", "int8", "int16x8"))
    assert (whole.kind, whole.ops_fraction, whole.partitions, whole.left) == ("observed", 1.0, 1, {})
    assert (most.ops_fraction, most.left) == (11 / 12, {"11 SOFTMAX": "left by the delegate"})
    assert (nothing.ops_fraction, nothing.partitions) == (0.0, 0)
    assert len(nothing.left) == sum(read_graph(tflite("ds_cnn", "int16x8")).ops.values())


def test_a_slimmed_file_differs_in_size_alone(tmp_path: Path) -> None:
    source = tflite("ds_cnn", "int8")
    (tmp_path / "small.tflite").write_bytes(slim(source.read_bytes()))
    found = differences(inspect_file(source), inspect_file(tmp_path / "small.tflite"))
    assert {"bytes", "gzip", "zstd"} <= set(found)
    assert all(name.startswith(("bytes", "gzip", "zstd")) for name in found)
    assert differences(inspect_file(source), inspect_file(source)) == {}


def test_inspect_prints_what_is_in_the_file() -> None:
    path = tflite("resnet", "int8")
    done = RUN.invoke(cli.app, ["inspect", str(path), "--json"])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.output)
    assert answer["graph"]["ops"]["CONV_2D"] == 9
    assert answer["size_bytes"] == path.stat().st_size == sum(answer["graph"]["sections"].values())
    shown = RUN.invoke(cli.app, ["inspect", str(path)]).output
    assert "CONV_2D" in shown
    assert "fused RELU" in shown
    assert f"{read_graph(path).macs:,} MACs" in shown
    assert "xnnpack (observed)" in shown


def test_inspect_tells_what_the_manifest_beside_the_file_knows(tmp_path: Path) -> None:
    shop = workshop()
    shown = RUN.invoke(cli.app, ["inspect", str(shop.tflite("mixed-int8"))]).output
    for answered in ("folded batch norm", "parity on 128 samples", "reference", "sensitivity, worst first"):
        assert answered in shown
    found = inspect_file(shop.tflite("int8"))
    assert found.variant == shop.manifests["int8"]
    assert found.graph.ops_before["FusedBatchNormV3"] == 2
    # Another file's manifest, or a damaged one, says nothing.
    shutil.copy(shop.tflite("int8"), tmp_path / "model.tflite")
    shutil.copy(shop.tflite("float32").with_name("variant.json"), tmp_path / "variant.json")
    assert inspect_file(tmp_path / "model.tflite").variant is None
    (tmp_path / "variant.json").write_text("{")
    assert inspect_file(tmp_path / "model.tflite").variant is None


def test_diff_says_whether_they_differ() -> None:
    path = str(tflite("dense", "int8"))
    same = RUN.invoke(cli.app, ["diff", path, path])
    assert (same.exit_code, same.output.strip()) == (0, "no difference in what they compute and hold")
    other = RUN.invoke(cli.app, ["diff", path, str(tflite("dense", "float32"))])
    assert other.exit_code == 1
    assert "op QUANTIZE" in other.output or "input 0" in other.output


def test_inspect_refuses_what_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(np.zeros(64, np.uint8).tobytes())
    assert isinstance(RUN.invoke(cli.app, ["inspect", str(tmp_path / "a.tflite")]).exception, InputError)
