"""Preparing 100,000 samples needs less than 1 GB, whatever they come from: measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from litemill.artifacts.files import read_manifest
from litemill.artifacts.layout import DATASET
from litemill.evidence.sources import DatasetManifest

pytestmark = pytest.mark.e2e

SAMPLES = 100_000
TEST = 1_000
LIMIT = 1 << 30
PREPARE = """
import json, sys
from pathlib import Path
from litemill.data.prepare import prepare_data
from litemill.config.run import DataSpec
prepare_data(DataSpec.model_validate(json.loads(sys.argv[1])), 0, Path(sys.argv[2]))
(line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(int(line.split()[1]) * 1024)
"""


def image_folder(root: Path) -> dict[str, Any]:
    """Colour images of 64 by 64: 4.9 GB once prepared."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), np.uint8)
    encoded = []
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(root / f"{number}.jpg")
        encoded.append((root / f"{number}.jpg").read_bytes())
    for split, count in (("train", SAMPLES), ("test", TEST)):
        for number in range(count):
            folder = root / "images" / split / f"class-{number % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.jpg").write_bytes(encoded[number % 16])
    return {"kind": "image_folder", "uri": str(root / "images")}


def npz(root: Path) -> dict[str, Any]:
    """The same from one compressed file of 1.2 GB."""
    arrays = {f"y_{split}": np.arange(count) % 10 for split, count in (("train", SAMPLES), ("test", TEST))}
    x = np.tile(np.random.default_rng(0).integers(0, 256, (1000, 64, 64, 3), np.uint8), (SAMPLES // 1000, 1, 1, 1))
    np.savez_compressed(root / "d.npz", x_train=x, x_test=x[:TEST], **arrays)
    return {"kind": "npz", "uri": str(root / "d.npz")}


def csv(root: Path) -> dict[str, Any]:
    """3.2 million rows of a sensor with six channels, in windows of 128 that overlap: 307 MB once prepared."""
    stride, window = 32, 128
    values = np.random.default_rng(0).normal(size=(1000, 6)).round(4).tolist()
    for split, count in (("train", SAMPLES), ("test", TEST)):
        with (root / f"{split}.csv").open("w") as stream:
            stream.write("a,b,c,d,e,f,activity\n")
            for row in range((count // 2) * stride * 2 + 2 * window):
                label = "walk" if row < (count // 2) * stride + window else "run"
                stream.write(",".join(map(str, values[row % 1000])) + f",{label}\n")
    return {"kind": "csv", "uri": str(root), "options": {"label": "activity", "window": window, "stride": stride}}


@pytest.mark.parametrize("source", [npz, csv, image_folder], ids=lambda source: source.__name__)
def test_100_000_samples_are_prepared_in_less_than_a_gigabyte(
    source: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "source").mkdir()
    spec = source(tmp_path / "source")
    command = [sys.executable, "-c", PREPARE, json.dumps(spec), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak = int(done.stdout.splitlines()[-1])
    manifest = read_manifest(tmp_path / "out" / DATASET, DatasetManifest)
    assert manifest.splits["train"].samples >= SAMPLES
    assert peak < LIMIT, f"{peak / 1e6:.0f} MB"
