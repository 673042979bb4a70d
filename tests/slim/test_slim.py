"""Slimming: what is saved, what is kept, and that no output bit changes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import HealthCheck, given, settings
from typer.testing import CliRunner

from litemill.cli import app as cli
from litemill.errors import ConfigError, InputError, LitemillError, StepFailed
from litemill.flatbuffer import measure_sections
from litemill.flatbuffer.reader import parse_model
from litemill.slim import files as slimming
from litemill.slim.equivalence import prove_equal
from litemill.slim.files import slim_file
from litemill.slim.rewrite import canonical_digest, slim
from tests.flatbuffer.generated import models
from tests.zoo import tflite

ALL, NOTHING, DEFAULT = frozenset({"names", "signatures", "metadata"}), frozenset(), frozenset({"signatures"})


@pytest.mark.parametrize(("name", "saved"), [("ds_cnn", 0.25), pytest.param("mobilenet", 0.15, marks=pytest.mark.e2e)])
def test_int8_models_shrink_and_compute_the_same_everywhere(tmp_path: Path, name: str, saved: float) -> None:
    source = tflite(name, "int8")
    report = slim_file(source, tmp_path / "small.tflite")
    assert report.applied, report.reason
    assert report.after_bytes == (tmp_path / "small.tflite").stat().st_size
    assert report.after_bytes < (1 - saved) * source.stat().st_size
    assert report.checks == {
        "structure": "equal",
        "xnnpack": "bit-identical on 16 samples",
        "reference": "bit-identical on 16 samples",
        "tflm": "bit-identical on 4 samples",
        "vela": "taken as the original is",
    }


@pytest.mark.parametrize(
    "name", [*(pytest.param(name, marks=pytest.mark.e2e) for name in ("ds_cnn", "mobilenet")), "resnet"]
)
@pytest.mark.parametrize("scheme", ["float32", "float16", "dynamic", "int16x8"])
def test_no_scheme_grows_and_slimming_twice_changes_nothing(name: str, scheme: str) -> None:
    data = tflite(name, scheme).read_bytes()
    smaller = slim(data)
    assert len(smaller) < len(data)
    assert slim(smaller) == smaller
    prove_equal(data, smaller, DEFAULT)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(models())
def test_generated_models_compute_the_same(data: bytes) -> None:
    smaller = slim(data)
    assert len(smaller) < len(data)
    checks = prove_equal(data, smaller, DEFAULT)
    assert checks["xnnpack"] == checks["reference"] == "bit-identical on 16 samples"
    assert slim(smaller) == smaller
    assert canonical_digest(data) == canonical_digest(smaller) == canonical_digest(slim(data, ()))


@pytest.mark.parametrize("keep", [ALL, NOTHING, DEFAULT])
def test_what_is_kept(keep: frozenset[str]) -> None:
    data = tflite("resnet", "int8").read_bytes()
    original = parse_model(data, where="")
    names = {tensor.name for tensor in original.subgraphs[0].tensors}
    smaller = slim(data, keep)
    model = parse_model(smaller, where="")
    kept = {tensor.name for tensor in model.subgraphs[0].tensors}
    (graph,) = original.subgraphs
    ends = {graph.tensors[index].name for index in (*graph.inputs, *graph.outputs)}
    assert kept == {ALL: names, DEFAULT: ends | {b""}, NOTHING: {b""}}[keep]
    assert bool(model.signatureDefs) == ("signatures" in keep)
    assert bool(model.metadata) == ("metadata" in keep)
    interpreter = Interpreter(model_content=smaller)
    if "signatures" in keep:
        before = Interpreter(model_content=data)
        assert interpreter.get_signature_list() == before.get_signature_list()
        x = np.full((1, 16, 16, 3), 3, np.int8)
        (key,) = interpreter.get_signature_list()
        found, expected = (
            item.get_signature_runner(key)(**{item.get_signature_list()[key]["inputs"][0]: x})
            for item in (interpreter, before)
        )
        assert all(np.array_equal(found[output], expected[output]) for output in expected)


def test_keeping_everything_still_saves_and_proves() -> None:
    data = tflite("ds_cnn", "int8").read_bytes()
    smaller = slim(data, ALL)
    prove_equal(data, smaller, ALL)
    assert len(smaller) < 0.85 * len(data)


def test_weights_stay_aligned_to_16_bytes() -> None:
    data = slim(tflite("ds_cnn", "int8").read_bytes())
    start = np.frombuffer(data, np.uint8).ctypes.data
    buffers = parse_model(data, where="").buffers
    assert len(buffers) > 10
    assert all((buffer.data.ctypes.data - start) % 16 == 0 for buffer in buffers if buffer.data is not None)


def test_equal_weights_are_stored_once_and_nothing_unused_is_left() -> None:
    model = parse_model(slim(tflite("ds_cnn", "int8").read_bytes()), where="")
    contents = [b"" if buffer.data is None else buffer.data.tobytes() for buffer in model.buffers]
    assert len(set(contents)) == len(contents)
    assert contents[0] == b""
    (graph,) = model.subgraphs
    used = {int(index) for op in graph.operators for index in (*op.inputs, *op.outputs)}
    assert used - {-1} == set(range(len(graph.tensors)))
    assert {op.opcodeIndex for op in graph.operators} == set(range(len(model.operatorCodes)))


def test_sections_add_up_and_say_where_the_saving_is() -> None:
    data = tflite("ds_cnn", "int8").read_bytes()
    before, after = measure_sections(data), measure_sections(slim(data))
    assert sum(before.values()) == len(data)
    assert sum(after.values()) == len(slim(data))
    assert after["quantization"] < 0.6 * before["quantization"]
    assert after["names"] < before["names"]
    assert after["weights"] <= before["weights"]
    weights = 64 * (10 * 4 + 4 * (9 + 64)) + 12 * 64
    assert before["weights"] > weights


def test_metadata_that_steers_a_runtime_stays() -> None:
    from ai_edge_litert import schema_py_generated as schema

    from litemill.slim.sharing import pack_shared

    model = parse_model(tflite("dense", "int8").read_bytes(), where="")
    plan = np.arange(16, dtype=np.uint8)
    model.buffers.append(schema.BufferT(data=plan))
    model.metadata.append(schema.MetadataT(name=b"OfflineMemoryAllocation", buffer=len(model.buffers) - 1))
    found = parse_model(slim(pack_shared(model)), where="")
    assert [entry.name for entry in found.metadata] == [b"OfflineMemoryAllocation"]
    assert np.array_equal(found.buffers[found.metadata[0].buffer].data, plan)


def test_files_with_parts_outside_the_flatbuffer_are_left_alone(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "labelled.tflite"
    path.write_bytes(tflite("dense", "int8").read_bytes())
    with zipfile.ZipFile(path, "a") as labels:
        labels.writestr("labels.txt", "a\nb\n")
    with pytest.raises(StepFailed, match="associated files are appended"):
        slim(path.read_bytes())
    report = slim_file(path, tmp_path / "out.tflite")
    assert not report.applied
    assert (tmp_path / "out.tflite").read_bytes() == path.read_bytes()
    assert "associated files" in report.reason


def test_the_proof_sees_a_changed_weight_and_a_changed_graph() -> None:
    data = tflite("dense", "int8").read_bytes()

    def changed(edit: Any) -> bytes:
        broken = bytearray(data)
        edit(parse_model(broken, where=""))
        return bytes(broken)

    def flip(model: Any) -> None:
        max((buffer.data for buffer in model.buffers if buffer.data is not None), key=len)[5] ^= 0x40

    with pytest.raises(StepFailed, match="the structure changed"):
        prove_equal(data, changed(flip), DEFAULT)


def test_the_original_stays_where_the_proof_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slimming, "worker_module", lambda: "tests.slim.breaking_worker")
    source = tflite("dense", "int8")
    report = slim_file(source, tmp_path / "out.tflite")
    assert (report.applied, report.reason) == (False, "the structure changed")
    assert (tmp_path / "out.tflite").read_bytes() == source.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["out.tflite"]


def test_a_corrupted_file_is_refused(tmp_path: Path) -> None:
    data, rng, refused = tflite("dense", "int8").read_bytes(), random.Random(0), 0
    with pytest.raises(InputError, match="lacks the mark TFL3"):
        slim(b"PK" + data)
    for _ in range(60):
        broken = bytearray(data)
        for _ in range(20):
            broken[rng.randrange(8, len(broken))] = rng.randrange(256)
        try:
            slim(bytes(broken))
        except LitemillError:
            refused += 1
    assert refused > 10
    (tmp_path / "broken.tflite").write_bytes(data[: len(data) // 3])
    with pytest.raises(InputError):
        slim_file(tmp_path / "broken.tflite", tmp_path / "out.tflite")
    assert not (tmp_path / "out.tflite").exists()


def test_unknown_things_to_keep_are_told() -> None:
    with pytest.raises(ConfigError, match="cannot keep 'signature'; did you mean 'signatures'"):
        slim(tflite("dense", "int8").read_bytes(), ["signature"])


def test_digest_ignores_names_but_not_weights() -> None:
    data = tflite("dense", "int8").read_bytes()
    assert canonical_digest(data) == canonical_digest(slim(data)) == canonical_digest(slim(data, ALL))
    assert canonical_digest(data) != canonical_digest(tflite("dense", "float32").read_bytes())


def test_the_command_writes_the_file_and_tells_what_was_saved(tmp_path: Path) -> None:
    source, out = tflite("ds_cnn", "int8"), tmp_path / "out.tflite"
    done = CliRunner().invoke(cli.app, ["slim", str(source), "--out", str(out), "--keep", "none"])
    assert done.exit_code == 0, done.output
    assert f"{source.stat().st_size:,}" in done.output
    assert f"{out.stat().st_size:,}" in done.output
    assert "tflm: bit-identical on 4 samples" in done.output
    assert out.read_bytes() == slim(source.read_bytes(), ())
    again = CliRunner().invoke(cli.app, ["slim", str(source), "--out", str(out)])
    assert isinstance(again.exception, ConfigError)
