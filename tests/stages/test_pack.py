"""The deployment pack: its C++ prepares inputs as the evaluation did, its Python gives the same answers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from litemill.artifacts.files import write_manifest
from litemill.artifacts.layout import TFLITE, TFLM_TFLITE, VARIANT, measurement_name
from litemill.config.data import Preprocessing
from litemill.data.preprocess import preprocess
from litemill.evidence.interface import Interface
from litemill.evidence.lut import LutReport
from litemill.evidence.outcome import Measurement
from litemill.evidence.variant import VariantManifest
from litemill.flatbuffer.graph import read_graph
from litemill.flatbuffer.reader import parse_model
from litemill.runtime.quantization import dequantize, quantize
from litemill.shipping.manifest import Digests, Found, Release, Tables
from litemill.shipping.pack import pack
from litemill.slim.lut_files import lut_file
from litemill.slim.rewrite import slim
from litemill.slim.sharing import pack_shared
from litemill.track.serving import TfliteModel
from tests.int8_files import Layer, int8_file
from tests.tflm_stand_in import write_headers

HOSTILE = ['a "quoted" name', "back\\slash\nand line", "??/ ☃ 😀 ${x} %s", "*/ // \u0000"]
STEPS = {"scale": 0.0625, "offset": -0.5, "mean": [0.1, 0.2, 0.3, 0.4], "std": [0.5], "channel_order": "rgb"}
MICRO = ("main.cc", "model_data.cc", "model_data.h", "ops.h")


@cache
def files() -> tuple[bytes, bytes, LutReport]:
    """An int8 classifier, the same with tables, and what was found of that."""
    plain = slim(int8_file(Layer("conv", 48, values=4), Layer("dense", 4)))
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / TFLITE, Path(folder) / TFLM_TFLITE
        source.write_bytes(plain)
        report = lut_file(source, out, arena_limit=1 << 20)
        return plain, out.read_bytes(), report


def made(folder: Path, *, tables: bool = True, steps: dict[str, Any] | None = None) -> Release:
    """A release of an int8 classifier with all that the pack is written from."""
    folder.mkdir(parents=True, exist_ok=True)
    plain, with_tables, report = files()
    (folder / TFLITE).write_bytes(plain)
    if tables:
        (folder / TFLM_TFLITE).write_bytes(with_tables)
    graph = read_graph(folder / TFLITE)
    about = {"recipe": "int8", "target": "tflm", "device": {"runtime": "tflite-micro"}, "arena_bytes": 9008}
    write_manifest(folder / measurement_name("tflm"), Measurement(**about))
    write_manifest(folder / VARIANT, VariantManifest(recipe="int8", steps=["int8"], scheme="int8", graph=graph))
    return Release(
        name="weather",
        recipe="int8",
        steps=["int8"],
        sha256="a" * 64,
        size_bytes=1,
        tables=Tables.of(report if tables else None),
        data=Digests(test="d" * 64),
        evidence=Found(metric="top1", value=0.9, samples=9),
        interface=Interface(input_shape=[8, 8, 4], preprocessing=steps or STEPS, labels=HOSTILE, classes=4),
        litemill="0.1.0",
    )


def written(folder: Path, release: Release) -> Path:
    """The pack's folder, its files written."""
    for name, text in pack(folder, release).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "deploy"


def raw(count: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(2, 8, (count, 8, 8, 4)).astype(np.float32)


def compiler() -> str:
    found = shutil.which("g++") or shutil.which("clang++") or shutil.which("c++")
    assert found, "install a C++ compiler (g++ or clang++)"
    return found


def build(sources: Path, folder: Path) -> Path:
    """Compile the sources, warnings as errors, against stand-ins for TFLM's headers, with what drives them."""
    headers = write_headers(folder / "headers")
    flags = [compiler(), "-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic", "-isystem", str(headers)]
    flags += ["-I", str(sources)]
    subprocess.run([*flags, "-fsyntax-only", str(sources / "main.cc")], check=True)
    program = folder / "program"
    files = [str(sources / "main.cc"), str(sources / "model_data.cc"), str(headers / "harness.cc")]
    subprocess.run([*flags, "-Dmain=unused", "-c", files[0], "-o", str(folder / "main.o")], check=True)
    subprocess.run([*flags, str(folder / "main.o"), *files[1:], "-o", str(program)], check=True)
    return program


@pytest.mark.e2e
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_the_c_sources_compile_and_prepare_a_sample_as_the_evaluation_did(tmp_path: Path, order: str) -> None:
    steps = {**STEPS, "channel_order": "rgb"}
    folder = tmp_path / "release"
    release = made(folder, steps=steps)
    if order == "bgr":  # of three channels in a config; the sources do it for any number of them
        release.interface.preprocessing["channel_order"] = "bgr"  # type: ignore[union-attr]
    sources = written(folder, release) / "microcontroller"
    assert sorted(file.name for file in sources.iterdir()) == sorted(MICRO)
    program, sample = build(sources, tmp_path), raw(1)
    out = subprocess.run([str(program)], input=sample.tobytes(), capture_output=True, check=True).stdout

    port = read_graph(folder / TFLITE)
    details = [
        {"dtype": info.dtype, "quantization": (info.scale, info.zero_point)} for info in (*port.inputs, *port.outputs)
    ]
    expected = quantize(preprocess(sample, Preprocessing.model_validate({**STEPS, "channel_order": order})), details[0])
    stored = np.frombuffer(out[: expected.size], np.int8).reshape(expected.shape)
    assert np.abs(stored.astype(int) - expected).max() <= 1, "a multiplication may be fused with an addition"
    assert np.mean(stored == expected) > 0.99 and len(np.unique(stored)) > 50
    outputs = np.frombuffer(out[expected.size :], np.float32)
    assert np.allclose(outputs, dequantize(stored.ravel()[: len(outputs)], details[1]))


def test_what_the_sources_hold_is_what_the_evidence_says(tmp_path: Path) -> None:
    release = made(tmp_path)
    sources = written(tmp_path, release) / "microcontroller"
    text = (sources / "model_data.cc").read_text()
    held = bytes(int(byte, 16) for byte in re.findall(r"0x([0-9a-f]{2}),", text))
    assert held == (tmp_path / TFLM_TFLITE).read_bytes(), "what TFLM stores is the file with tables"
    assert "alignas(16) const unsigned char kModelData" in text
    header = (sources / "model_data.h").read_text()
    assert "kArenaBytes = 9008;" in header and f"kModelBytes = {len(held)};" in header
    ops = (sources / "ops.h").read_text()
    assert "MicroMutableOpResolver<4>" in ops
    assert re.findall(r"resolver\.(Add\w+)", ops) == ["AddConv2D", "AddFullyConnected", "AddMean", "AddCustom"]

    plain = written(tmp_path / "plain", made(tmp_path / "plain", tables=False)) / "microcontroller"
    assert "MicroMutableOpResolver<3>" in (plain / "ops.h").read_text()
    held = bytes(int(byte, 16) for byte in re.findall(r"0x([0-9a-f]{2}),", (plain / "model_data.cc").read_text()))
    assert held == (tmp_path / "plain" / TFLITE).read_bytes()


def test_the_python_source_gives_the_answers_of_the_served_model(tmp_path: Path) -> None:
    release = made(tmp_path)
    script = written(tmp_path, release) / "python" / "predict.py"
    np.save(tmp_path / "samples.npy", raw())
    command = [sys.executable, "-P", str(script), str(tmp_path / "samples.npy")]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    code = "import json, sys; sys.path.insert(0, sys.argv[1]); import numpy as np, predict;"
    code += "print(json.dumps([predict.predict(np.load(sys.argv[2])).tolist(), predict.LABELS]))"
    command = [sys.executable, "-c", code, str(script.parent), str(tmp_path / "samples.npy")]
    found, labels = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert release.interface and labels == HOSTILE
    served = TfliteModel(tmp_path / TFLITE, release.interface).scores(raw())
    assert np.array_equal(np.asarray(found, np.float32), served)


def test_names_from_the_data_stay_inside_their_literals(tmp_path: Path) -> None:
    """Kotlin is not compiled here: its literals are read as JSON has them, and its brackets are counted."""
    folder = written(tmp_path, made(tmp_path))
    kotlin = (folder / "android/Model.kt").read_text()
    listed = re.search(r"listOf<String>\((.*)\)\n", kotlin)
    assert listed and json.loads(f"[{listed.group(1)}]") == HOSTILE
    outside = re.sub(r'"[^"]*"', "", kotlin)
    assert all(outside.count(one) == outside.count(other) for one, other in ("()", "{}", "[]"))
    text = (folder / "microcontroller/model_data.cc").read_text()
    literals = re.findall(r'^    "(.*)",$', text, re.MULTILINE)
    octal = [re.sub(r"\\(\d{3})", lambda found: chr(int(found.group(1), 8)), one) for one in literals]
    assert [one.encode("latin-1").decode() for one in octal] == HOSTILE
    assert all(letter.isascii() and letter.isprintable() for one in literals for letter in one)


def test_ops_that_the_sources_cannot_run_are_named_and_the_others_are_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    release = made(tmp_path, tables=False)
    model = parse_model(bytearray((tmp_path / TFLITE).read_bytes()), where="")
    for code in model.operatorCodes[:1]:
        code.builtinCode, code.deprecatedBuiltinCode = 142, 127  # VAR_HANDLE
    (tmp_path / TFLITE).write_bytes(pack_shared(model))
    assert sorted(pack(tmp_path, release)) == ["deploy/android/Model.kt", "deploy/python/predict.py"]
    assert "no sources for microcontrollers: they have nothing for VAR_HANDLE" in caplog.text


def test_nothing_is_written_for_microcontrollers_that_none_was_shown_to_run(tmp_path: Path) -> None:
    release = made(tmp_path, tables=False)
    assert any("microcontroller" in name for name in pack(tmp_path, release))
    (tmp_path / measurement_name("tflm")).unlink()
    assert sorted(pack(tmp_path, release)) == ["deploy/android/Model.kt", "deploy/python/predict.py"]
    assert pack(tmp_path, release.model_copy(update={"interface": None})) == {}
