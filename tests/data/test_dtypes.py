"""Data is prepared in the type that the model takes, exactly or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.config.run import DataSpec
from litemill.data.checks import check_source
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.errors import InputError

Y = np.arange(40) % 2


def npz(root: Path, x: Any, **section: Any) -> DataSpec:
    named = x if isinstance(x, dict) else {"": x}
    arrays = {
        f"x_{split}{f'_{name}' if name else ''}": part for split in ("train", "test") for name, part in named.items()
    }
    np.savez(root / "d.npz", y_train=Y, y_test=Y, **arrays)
    return DataSpec.model_validate({"kind": "npz", "uri": str(root / "d.npz"), **section})


@pytest.mark.parametrize(
    ("dtype", "x"),
    [
        ("uint8", np.arange(120, dtype=np.uint8).reshape(40, 3)),
        ("int32", np.arange(120).reshape(40, 3) + 2**24),
        ("int64", np.arange(120).reshape(40, 3) + 2**40),
        ("int8", np.arange(120).reshape(40, 3).astype(np.float64) - 100),
        ("bool", np.arange(120).reshape(40, 3) % 2 == 0),
        ("bool", (np.arange(120).reshape(40, 3) % 2).astype(np.float32)),
        ("float32", np.arange(120, dtype=np.uint8).reshape(40, 3)),
        ("float16", np.arange(120, dtype=np.uint8).reshape(40, 3)),
    ],
)
def test_every_value_arrives_as_it_was(dtype: str, x: Any, tmp_path: Path) -> None:
    manifest = prepare_data(npz(tmp_path, x), 0, tmp_path / "out", dtypes={"": dtype})
    test = Splits.open(tmp_path / "out").test
    assert manifest.dtype == str(test.x.dtype) == (dtype if "float" not in dtype else "float32")
    np.testing.assert_array_equal(test.x, x)


def test_pixels_that_are_shifted_whole_stay_exact(tmp_path: Path) -> None:
    x = np.arange(120, dtype=np.uint8).reshape(40, 3)
    spec = npz(tmp_path, x, preprocessing={"offset": -128.0})
    prepare_data(spec, 0, tmp_path / "out", dtypes={"": "int8"})
    np.testing.assert_array_equal(Splits.open(tmp_path / "out").test.x, x.astype(int) - 128)


@pytest.mark.parametrize(
    ("x", "dtype", "section", "message"),
    [
        (
            np.full((40, 3), 7, np.uint8),
            "uint8",
            {"preprocessing": {"scale": 1 / 255}},
            r"gives 0\.027451",
        ),
        (np.full((40, 3), 256), "uint8", {}, r"gives 256, but the model takes uint8"),
        (np.full((40, 3), -1), "uint8", {}, r"gives -1, but the model takes uint8"),
        (np.full((40, 3), 2**40), "int32", {}, r"gives 1\.09951e\+12, but the model takes int32"),
        (np.full((40, 3), 2), "bool", {}, r"gives 2, but the model takes bool"),
        (np.full((40, 3), 0.5), "int64", {}, r"gives 0\.5, but the model takes int64\. Leave scale"),
        (np.full((40, 3), 1), "string", {}, r"the model takes string, which no target can be given"),
    ],
)
def test_what_the_type_cannot_hold_is_refused_before_any_compute(
    x: Any, dtype: str, section: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        check_source(npz(tmp_path, x, **section), {"": dtype})


def test_each_of_several_inputs_has_its_own_type(tmp_path: Path) -> None:
    x = {"tokens": np.arange(120).reshape(40, 3) + 2**24, "picture": np.arange(80, dtype=np.uint8).reshape(40, 2)}
    spec = npz(tmp_path, x, inputs={"tokens": {}, "picture": {"scale": 0.5}})
    manifest = prepare_data(spec, 0, tmp_path / "out", dtypes={"tokens": "int32", "picture": "float32"})
    assert manifest.dtypes == {"tokens": "int32"}
    test = Splits.open(tmp_path / "out").test.x
    np.testing.assert_array_equal(test["tokens"], x["tokens"])
    np.testing.assert_array_equal(test["picture"], x["picture"] / 2)
    with pytest.raises(InputError, match=r"data\.inputs\.picture: gives 0\.5, but the model takes uint8"):
        check_source(spec, {"tokens": "int32", "picture": "uint8"})


def test_labels_that_begin_at_1_are_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x_train=np.ones((40, 3)), x_test=np.ones((40, 3)), y_train=Y + 1, y_test=Y + 1)
    facts = check_source(DataSpec(kind="npz", uri=str(tmp_path / "d.npz")))
    assert any("no sample has label 0" in warning for warning in facts.warnings)
