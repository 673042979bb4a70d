"""Several inputs: each has its own arrays and its own preprocessing, and the rows stay together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from litemill.config.run import DataSpec
from litemill.data.checks import check_source
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.errors import InputError
from tests.data.made_sources import example, png, record

COUNTS = {"train": 40, "test": 12}
RNG = np.random.default_rng(3)
IMAGES = {split: RNG.integers(0, 256, (count, 6, 5, 3), dtype=np.uint8) for split, count in COUNTS.items()}
WEATHER = {split: RNG.normal(size=(count, 4)) for split, count in COUNTS.items()}
LABELS = {split: np.arange(count) % 2 for split, count in COUNTS.items()}
INPUTS = {"image": {"scale": 1 / 255, "channel_order": "bgr"}, "weather": {"mean": [1.0, 2.0, 3.0, 4.0]}}


def arrays() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for split in COUNTS:
        found |= {f"x_{split}_image": IMAGES[split], f"x_{split}_weather": WEATHER[split], f"y_{split}": LABELS[split]}
    return found


def load() -> dict[str, Any]:
    """What a user's own function returns."""
    return {split: ({"weather": WEATHER[split], "image": IMAGES[split]}, LABELS[split]) for split in COUNTS}


def load_uneven() -> dict[str, Any]:
    return {split: ({"weather": WEATHER[split], "image": IMAGES[split][1:]}, LABELS[split]) for split in COUNTS}


def load_one() -> dict[str, Any]:
    return {split: (IMAGES[split], LABELS[split]) for split in COUNTS}


def source(kind: str, root: Path, **changes: Any) -> DataSpec:
    """The same two inputs as a source of that kind."""
    section: dict[str, Any] = {"kind": kind, "inputs": INPUTS}
    if kind == "npz":
        np.savez(root / "d.npz", **arrays())
        section["uri"] = str(root / "d.npz")
    elif kind == "numpy":
        (root / "folder").mkdir()
        for key, value in arrays().items():
            np.save(root / "folder" / f"{key}.npy", value)
        section["uri"] = str(root / "folder")
    elif kind == "tfrecord":
        (root / "records").mkdir()
        for split in COUNTS:
            rows = zip(IMAGES[split], WEATHER[split], LABELS[split], strict=True)
            content = [record(example(photo=png(i), weather=w.tolist(), label=int(y))) for i, w, y in rows]
            (root / "records" / f"{split}.tfrecord").write_bytes(b"".join(content))
        weather = {"x": "weather", "encoding": "values", "shape": [4]}
        section |= {"uri": str(root / "records"), "options": {"inputs": {"image": {"x": "photo"}, "weather": weather}}}
    else:
        section["options"] = {"function": f"{__name__}:load"}
    return DataSpec.model_validate(section | changes)


@pytest.mark.parametrize("kind", ["npz", "numpy", "python", "tfrecord"])
def test_each_input_is_preprocessed_by_itself_and_rows_stay_together(kind: str, tmp_path: Path) -> None:
    spec = source(kind, tmp_path, limit={"train": 20, "calibration": 8}, output="scores")
    facts = check_source(spec)
    assert facts.inputs == {"image": (6, 5, 3), "weather": (4,)}
    manifest = prepare_data(spec, 0, tmp_path / "out")
    assert manifest.inputs == {"image": [6, 5, 3], "weather": [4]}
    assert manifest.output == "scores"
    assert manifest.preprocessing["inputs"]["image"]["channel_order"] == "bgr"
    splits = Splits.open(tmp_path / "out")
    np.testing.assert_allclose(splits.test.x["image"], IMAGES["test"][..., ::-1] / 255, rtol=1e-5)
    np.testing.assert_allclose(splits.test.x["weather"], WEATHER["test"] - [1, 2, 3, 4], rtol=1e-4, atol=1e-5)
    for row, label in zip(splits.train.x, splits.train.y, strict=True):
        (at,) = np.flatnonzero(np.isclose(WEATHER["train"] - [1, 2, 3, 4], row["weather"], atol=1e-5).all(axis=1))
        np.testing.assert_allclose(row["image"], IMAGES["train"][at][..., ::-1] / 255, rtol=1e-5)
        assert label == LABELS["train"][at]
    low, high = manifest.value_range
    assert low == splits.calibration.x["weather"].min() and high == splits.calibration.x["image"].max()
    assert len(splits.calibration) == 8


def test_equal_sources_give_equal_files(tmp_path: Path) -> None:
    digests = []
    for kind in ("npz", "numpy", "python"):
        (tmp_path / kind).mkdir()
        manifest = prepare_data(source(kind, tmp_path / kind), 0, tmp_path / kind / "out")
        digests.append({name: info.x_sha256 for name, info in manifest.splits.items()})
    assert digests[0] == digests[1] == digests[2]


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (
            "npz",
            {"inputs": {"image": {}, "wether": {}}},
            r"has no array 'x_train_wether'; did you mean 'x_train_weather'",
        ),
        ("numpy", {"inputs": {"image": {"mean": [1, 2]}, "weather": {}}}, r"data\.inputs\.image\.mean: has 2 values"),
        (
            "npz",
            {"inputs": {"image": {"resize": [3, 3]}, "weather": {}}},
            r"data\.inputs\.image: resize and color are for",
        ),
        (
            "python",
            {"options": {"function": f"{__name__}:load_one"}},
            r"load_one\[train\]: samples are no mapping with image",
        ),
        (
            "python",
            {"inputs": {}},
            r"a mapping of 2 inputs\. Name them in data\.inputs: \{weather: \{\}, image: \{\}\}",
        ),
        ("python", {"options": {"function": f"{__name__}:load_uneven"}}, r"another number of samples for each input"),
    ],
)
def test_inputs_that_do_not_fit_their_source_are_told(
    kind: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        check_source(source(kind, tmp_path, **changes))


def test_a_sample_is_refused_for_any_of_its_inputs(tmp_path: Path) -> None:
    broken = arrays()
    broken["x_train_weather"] = broken["x_train_weather"].copy()
    broken["x_train_weather"][17, 2] = np.nan
    spec = source("npz", tmp_path)
    np.savez(tmp_path / "d.npz", **broken)
    with pytest.raises(InputError, match="sample 17 has NaN or infinite values"):
        check_source(spec)
    broken = arrays()
    broken["x_test_weather"] = broken["x_test_weather"][:-1]
    np.savez(tmp_path / "d.npz", **broken)
    with pytest.raises(InputError, match=r"x_test_weather\]: has 11 samples, .*x_test_image\] 12"):
        check_source(spec)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"inputs": {"image": {}}}, "data.inputs is for several inputs"),
        ({"inputs": {"image": {}, "a b": {}}}, "'a b' is not the name of an input"),
        ({"inputs": INPUTS, "preprocessing": {"scale": 2.0}}, "give each its own in data.inputs"),
        (
            {"inputs": INPUTS, "kind": "csv", "options": {"label": "y"}},
            "data.kind csv gives one input; several come from npz",
        ),
        (
            {"inputs": INPUTS, "kind": "tfrecord"},
            "must say the feature of each input: image, weather",
        ),
        ({"inputs": INPUTS, "task": "reconstruction"}, "what would the target be"),
    ],
)
def test_a_config_that_cannot_work_is_told(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataSpec.model_validate({"kind": "npz", "uri": "x"} | section)
