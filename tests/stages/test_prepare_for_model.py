"""Images come as the model takes them, without the config saying so; where it says otherwise, that is told."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from litemill.config.run import DataSpec, ModelSpec
from litemill.data.splits import Splits
from litemill.errors import InputError
from litemill.stages.prepare import prepare_for_model
from tests.data.made_sources import SET, SOURCES


def model_of(folder: Path, *shape: int | None) -> ModelSpec:
    """A model file that says what its input is; that is all of it that is read."""
    layer = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, *shape], "name": "image"}}
    config = {"class_name": "Functional", "config": {"name": "m", "layers": [layer]}}
    with zipfile.ZipFile(folder / "m.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.21.0"}))
    return ModelSpec(uri=str(folder / "m.keras"))


@pytest.mark.parametrize("kind", ["image_folder", "tfrecord"])
@pytest.mark.parametrize(
    ("takes", "prepared", "color"),
    [
        ((3, 4, 1), [3, 4, 1], "grayscale"),
        ((8, 8, 3), [8, 8, 3], "rgb"),
        ((None, None, 1), [6, 5, 1], "grayscale"),
        ((None, None, 3), [6, 5, 3], "rgb"),
    ],
)
def test_size_and_colour_are_the_models(
    kind: str, takes: tuple[int | None, ...], prepared: list[int], color: str, tmp_path: Path
) -> None:
    data = SOURCES[kind](tmp_path / "source")
    manifest = prepare_for_model(data, model_of(tmp_path, *takes), 0, tmp_path / "out")
    assert manifest.input_shape == prepared
    assert manifest.preprocessing["color"] == color
    assert manifest.preprocessing["resize"] == ([] if None in takes else prepared[:2]), (
        "a deployed app must do the same"
    )
    pixels = Image.fromarray(SET["test"][0][0]).convert("L" if color == "grayscale" else "RGB")
    expected = np.asarray(pixels.resize((prepared[1], prepared[0]), Image.Resampling.BILINEAR), np.float32)
    np.testing.assert_array_equal(Splits.open(tmp_path / "out").test.x[0], expected.reshape(prepared))


@pytest.mark.parametrize(
    ("preprocessing", "message"),
    [
        (
            {"resize": [6, 5]},
            r"data\.preprocessing\.resize: is \[6, 5\], but m\.keras takes images of 3×4\. "
            r"Leave it out: without it the model's own size is used",
        ),
        ({"color": "rgb"}, r"data\.preprocessing\.color: is rgb, but m\.keras takes 1 channel\. Leave it out"),
    ],
)
def test_a_config_that_asks_for_other_images_is_refused(
    preprocessing: dict[str, Any], message: str, tmp_path: Path
) -> None:
    data = SOURCES["image_folder"](tmp_path / "source")
    asked = DataSpec.model_validate(data.model_dump() | {"preprocessing": preprocessing})
    with pytest.raises(InputError, match=message):
        prepare_for_model(asked, model_of(tmp_path, 3, 4, 1), 0, tmp_path / "out")
    assert not (tmp_path / "out").exists()
