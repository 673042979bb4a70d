"""Sensor windows out of CSV files: what a window may span, and one clear error where a file is broken."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from litemill.config.run import DataSpec
from litemill.data.checks import check_source
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.errors import InputError


def sensor_rows(labels: list[Any], recordings: list[Any], split: str = "train") -> list[dict[str, Any]]:
    return [
        {"x": row, "y": -row, "activity": label, "who": recording, "part": split}
        for row, (label, recording) in enumerate(zip(labels, recordings, strict=True))
    ]


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


CSV_OPTIONS = {"label": "activity", "recording": "who", "split": "part", "window": 3, "stride": 2}


def test_windows_span_neither_recordings_nor_labels(tmp_path: Path) -> None:
    labels = ["run"] * 7 + ["walk"] * 4 + ["walk"] * 3
    recordings = ["a"] * 11 + ["b"] * 3
    rows = sensor_rows(labels, recordings) + sensor_rows(labels, recordings, "test")
    write_csv(tmp_path / "s.csv", rows)
    spec = DataSpec(kind="csv", uri=str(tmp_path / "s.csv"), options=CSV_OPTIONS)
    manifest = prepare_data(spec, 0, tmp_path / "out")
    splits = Splits.open(tmp_path / "out")
    assert splits.test.x[..., 0].tolist() == [[0, 1, 2], [2, 3, 4], [4, 5, 6], [7, 8, 9], [11, 12, 13]]
    assert (splits.test.x[..., 1] == -splits.test.x[..., 0]).all()
    assert splits.test.y.tolist() == [0, 0, 0, 1, 1]
    assert manifest.class_names == ["run", "walk"] and manifest.input_shape == [3, 2]


def test_csv_files_by_split_and_single_rows(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write_csv(tmp_path / f"{name}.csv", [{"a": row, "b": 1, "label": row % 2} for row in range(40)])
    prepare_data(DataSpec(kind="csv", uri=str(tmp_path), options={"label": "label"}), 0, tmp_path / "out")
    test = Splits.open(tmp_path / "out").test
    assert test.x.shape == (40, 2) and test.y.tolist() == [row % 2 for row in range(40)]


@pytest.mark.parametrize(
    ("options", "cell", "message"),
    [
        ({"label": "activty", "split": "part"}, None, r"s\.csv: has no column 'activty'; did you mean 'activity'\?"),
        ({"label": "activity", "split": ""}, None, r"is one file and says nothing of splits"),
        (CSV_OPTIONS, ("x", "abc"), r"s\.csv:4: column 'x' holds 'abc', no number"),
        (CSV_OPTIONS, ("part", "trian"), r"s\.csv:4: column 'part' says 'trian'"),
        (CSV_OPTIONS, ("x", "nan"), r"sample 0 has NaN or infinite values"),
        (CSV_OPTIONS | {"window": 50}, None, r"has no window of 50 rows"),
    ],
)
def test_a_broken_csv_gets_one_clear_error(
    options: dict[str, Any], cell: tuple[str, str] | None, message: str, tmp_path: Path
) -> None:
    rows = sensor_rows(["run"] * 9 + ["sit"] * 9, ["a"] * 18) + sensor_rows(
        ["run"] * 9 + ["sit"] * 9, ["a"] * 18, "test"
    )
    if cell:
        rows[2][cell[0]] = cell[1]
    write_csv(tmp_path / "s.csv", rows)
    with pytest.raises(InputError, match=message):
        check_source(DataSpec(kind="csv", uri=str(tmp_path / "s.csv"), options=options))


def test_a_column_behind_a_quote_that_is_never_closed_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text('x,"y,activity,who,part\n1,2,run,a,train\n3,4,walk,a,test\n')
    with pytest.raises(InputError, match="has no column") as answer:
        check_source(DataSpec(kind="csv", uri=str(tmp_path / "s.csv"), options=CSV_OPTIONS))
    assert "\n" not in str(answer.value)
