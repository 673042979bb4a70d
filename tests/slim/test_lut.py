"""Look-up tables for microcontrollers: what becomes a table, that outputs stay equal, and what gets no such file."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from litemill.cli import app as cli
from litemill.errors import ConfigError, InputError, LitemillError, StepFailed
from litemill.evidence.lut import LutReport
from litemill.flatbuffer.reader import parse_model
from litemill.runtime import micro
from litemill.slim import lut_files
from litemill.slim.equivalence import tflm_inputs
from litemill.slim.lut_choice import build
from litemill.slim.lut_files import lut_file
from litemill.slim.lut_plan import candidates
from litemill.slim.rewrite import slim
from tests.int8_files import Layer, int8_file, raw_samples

KEEP = frozenset({"signatures"})
ROOM = 1 << 20
"""An arena in which everything is decoded."""
NET = (
    Layer("conv", 64),
    Layer("depthwise", values=2),
    Layer("conv", 32, values=16),
    Layer("pointwise", 64, values=4, per_channel=False),
    Layer("dense", 10, values=60),
)


def written(folder: Path, data: bytes) -> Path:
    """A slimmed file, as a run has it."""
    path = folder / "model.tflite"
    path.write_bytes(slim(data))
    return path


def outputs(path: Path) -> bytes:
    """What TFLM computes on eight samples."""
    return bytes(micro.run(micro.load(path.read_bytes(), 1 << 20), raw_samples()).tobytes())


def test_repeated_weights_become_tables_as_they_are_quantized_and_outputs_stay_equal(tmp_path: Path) -> None:
    """Depthwise weights have their channels last, one scale means one table, 60 values are too many."""
    path, out = written(tmp_path, int8_file(*NET)), tmp_path / "small.tflite"
    report = lut_file(path, out, arena_limit=ROOM)

    assert report.applied, report.reason
    assert {one.name: (one.bits, one.values, one.axis) for one in report.tensors} == {
        "0 CONV_2D": (3, 8, 0),
        "1 DEPTHWISE_CONV_2D": (1, 2, 3),
        "2 CONV_2D": (4, 16, 0),
        "3 CONV_2D": (2, 4, None),
    }
    assert "60 distinct values in a channel, 64 weights" in report.left.pop("5 FULLY_CONNECTED") and not report.left
    assert report.after_bytes == out.stat().st_size < 0.7 * path.stat().st_size == 0.7 * report.before_bytes
    assert outputs(out) == outputs(path)
    assert report.checks == {"tflm": "bit-identical on 16 samples"}
    model, data = out.read_bytes(), tflm_inputs(path.read_bytes())
    assert report.arena_after_bytes == micro.smallest_arena(model, data)
    assert report.arena_before_bytes == micro.smallest_arena(path.read_bytes(), data)
    assert slim(model) == model, "it is slimmed"
    with pytest.raises(StepFailed, match="look-up tables already"):
        raise StepFailed(lut_file(out, tmp_path / "again.tflite").reason)


def test_without_a_limit_flash_and_arena_together_never_take_more(tmp_path: Path) -> None:
    """The largest convolution would cost more arena than it saves; the others are decoded where there is room."""
    path = written(tmp_path, int8_file(*NET))
    report = lut_file(path, tmp_path / "small.tflite")
    assert report.applied and report.arena_after_bytes and report.arena_before_bytes
    assert report.left["2 CONV_2D"] == "decoded, it takes more arena than the file saves"
    assert report.after_bytes + report.arena_after_bytes <= report.before_bytes + report.arena_before_bytes
    assert outputs(tmp_path / "small.tflite") == outputs(path)


def test_the_wrong_mode_is_noticed_and_no_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TFLM reads one table for all channels as the first of many, without an error: only outputs tell."""
    monkeypatch.setattr(lut_files, "worker_module", lambda: "tests.slim.wrong_mode_worker")
    path = written(tmp_path, int8_file(Layer("conv", 32, values=3), Layer("dense", 10, values=64), channels=16))
    report = lut_file(path, tmp_path / "small.tflite", arena_limit=ROOM)

    assert not report.applied
    assert report.reason == "tflm: outputs differ from the original's"
    assert not (tmp_path / "small.tflite").exists()


def test_old_files_have_their_op_codes_elsewhere(tmp_path: Path) -> None:
    layers = (Layer("conv", 32), Layer("dense", 10))
    path = written(tmp_path, int8_file(*layers, old=True, channels=16))
    assert not any(code.builtinCode for code in parse_model(path.read_bytes(), where="").operatorCodes)
    report = lut_file(path, tmp_path / "small.tflite", arena_limit=ROOM)

    assert report.applied, report.reason
    assert outputs_of(path, 16) == outputs_of(tmp_path / "small.tflite", 16)


def outputs_of(path: Path, channels: int) -> bytes:
    return bytes(micro.run(micro.load(path.read_bytes(), 1 << 20), raw_samples(channels=channels)).tobytes())


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ((Layer("conv", 8, values=4),), "the file is too small to gain: tables and their ops take what the weights"),
        ((Layer("conv", 8, values=36),), "no int8 weights that tables make smaller"),
    ],
)
def test_a_file_without_gain_is_left_out_with_the_reason(
    layers: tuple[Layer, ...], reason: str, tmp_path: Path
) -> None:
    report = lut_file(written(tmp_path, int8_file(*layers)), tmp_path / "small.tflite")
    assert not report.applied and report.reason.startswith(reason)
    assert not (tmp_path / "small.tflite").exists()


def test_under_a_limit_on_the_arena_the_smallest_file_is_chosen(tmp_path: Path) -> None:
    """Held against every set of tables there is."""
    layers = (Layer("conv", 12), Layer("conv", 24, values=4), Layer("conv", 12, values=16), Layer("dense", 32))
    path = written(tmp_path, int8_file(*layers))
    data, inputs = path.read_bytes(), tflm_inputs(path.read_bytes())
    found, _ = candidates(parse_model(data, where=""))
    sets = [chosen for count in range(1, len(found) + 1) for chosen in combinations(found, count)]
    files = [build(data, chosen, KEEP) for chosen in sets]
    plain, whole = micro.smallest_arena(data, inputs), micro.smallest_arena(files[-1], inputs)
    for limit in ((plain + whole) // 2, whole - micro.STEP):
        out = tmp_path / f"{limit}.tflite"
        report = lut_file(path, out, arena_limit=limit)
        smallest = min(len(data), *(len(one) for one in files if micro.fits(one, inputs, limit)))
        assert report.applied == (smallest < len(data)), report.reason
        if report.applied:
            assert report.arena_after_bytes and report.arena_after_bytes <= limit == report.arena_limit_bytes
            assert out.stat().st_size == smallest
            assert f"decoded, it breaks the limit of {limit:,} bytes on the arena" in report.left.values()

    tight = lut_file(path, tmp_path / "none.tflite", arena_limit=plain - micro.STEP)
    assert (
        tight.reason == f"the plain file needs an arena of {plain:,} bytes already, {plain - micro.STEP:,} are allowed"
    )


def test_what_cannot_have_tables_says_why(tmp_path: Path) -> None:
    from tests.small_run import classifier

    float32 = tmp_path / "float32.tflite"
    float32.write_bytes(classifier())
    assert lut_file(float32, tmp_path / "out.tflite").reason == "it has no int8 weights"
    model = parse_model(bytearray(int8_file(Layer("conv", 32, values=3))), where="")
    weights = next(tensor for tensor in model.subgraphs[0].tensors if len(tensor.shape) == 4 and tensor.buffer)
    weights.quantization.quantizedDimension = 1
    _, left = candidates(model)
    assert left == {"tensor/1": "quantized on axis 1 of 4 with 32 scales, which TFLM does not decode"}


def test_bad_input_gets_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = written(tmp_path, int8_file(*NET)), tmp_path / "small.tflite"
    (tmp_path / "torn.tflite").write_bytes(path.read_bytes()[:900])
    for source, target, options, error, match in [
        (tmp_path / "torn.tflite", out, {}, InputError, "damaged"),
        (tmp_path / "nothing.tflite", out, {}, InputError, "cannot read"),
        (path, path, {}, ConfigError, "exists already"),
        (path, tmp_path / "no" / "out.tflite", {}, InputError, "no such folder"),
        (path, out, {"keep": ["nams"]}, ConfigError, "did you mean 'names'"),
        (path, out, {"arena_limit": 0}, ConfigError, "an arena of 0 bytes"),
    ]:
        with pytest.raises(error, match=match):
            lut_file(source, target, **options)
    monkeypatch.setattr(lut_files, "find_spec", lambda name: None)
    with pytest.raises(LitemillError, match=r"tflite-micro is not installed\. Install litemill\[devices\]"):
        lut_file(path, out)
    assert not out.exists()
    assert lut_files.lut_files({"a": (path, out)})["a"].reason == "tflite-micro is not installed"


def test_the_command_writes_the_file_and_tells_what_was_saved(tmp_path: Path) -> None:
    path, out = written(tmp_path, int8_file(Layer("conv", 64))), tmp_path / "small.tflite"
    samples = tmp_path / "x.npy"
    np.save(samples, raw_samples().astype(np.float32) * 0.05)
    arguments = ["lut", str(path), str(out), "--samples", str(samples), "--max-arena", str(ROOM), "--json"]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    report = LutReport.model_validate(json.loads(done.output))
    assert (report.before_bytes, report.after_bytes) == (path.stat().st_size, out.stat().st_size)

    arguments = ["lut", str(path), str(tmp_path / "other.tflite"), "--max-arena", "1000"]
    refused = CliRunner().invoke(cli.app, arguments)
    assert isinstance(refused.exception, StepFailed) and "1,000 are allowed" in str(refused.exception)
    assert not (tmp_path / "other.tflite").exists()
