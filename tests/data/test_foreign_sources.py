"""Data that other people have: read as what it is, or refused in one line that names the file and says what to do."""

from __future__ import annotations

import gzip
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litemill.config.run import DataSpec
from litemill.data.checks import check_source
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.errors import InputError
from tests.data.made_sources import example, loop, pipe, png, record

Array = np.ndarray
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (16, 6, 5), dtype=np.uint8)
LABELS = np.arange(16) % 2


def arrays(**changes: Any) -> dict[str, Array]:
    made = {"x_train": RNG.random((40, 3)), "y_train": np.arange(40) % 2}
    return made | {"x_test": RNG.random((40, 3)), "y_test": np.arange(40) % 2} | changes


def npz(root: Path, **changes: Any) -> DataSpec:
    np.savez(root / "d.npz", **arrays(**changes))
    return DataSpec(kind="npz", uri=str(root / "d.npz"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_train": np.full(40, 10**10)}, r"y_train\]: has label 10000000000, 99999 is the most"),
        ({"y_test": np.full(40, 2**40, np.uint64)}, r"y_test\]: has label 1099511627776"),
        ({"y_test": np.full(40, 2**63, np.uint64)}, r"y_test\]: has label 9223372036854775808"),
        ({"y_train": np.full(40, 1e300)}, r"y_train\]: has labels that are no class indices"),
        ({"x_train": np.zeros((40, 0))}, r"x_train\]: has shape \[40, 0\]: its samples hold nothing"),
        ({"x_test": np.zeros((40, 3, 0, 2))}, r"its samples hold nothing"),
        ({"x_train": np.zeros((0, 3)), "y_train": np.zeros(0)}, r"x_train\]: has no samples"),
        ({"x_train": np.array([[{}]] * 40)}, r"holds pickled Python objects, which are never loaded"),
        ({"x_train": np.array([["a"]] * 40)}, r"holds <U1 values, not numbers"),
        ({"x_train": np.zeros((40, 3), complex)}, r"holds complex128 values, not numbers"),
        ({"y_train": np.array(["a", "b"] * 20)}, r"y_train\]: holds <U1 values"),
        ({"y_train": np.zeros(41)}, r"y_train\]: has 41 labels for 40 samples"),
    ],
)
def test_arrays_that_cannot_be_used_are_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    spec = npz(tmp_path, **changes)
    with pytest.raises(InputError, match=message):
        check_source(spec)


def header(text: str, version: bytes = b"\x01\x00") -> bytes:
    """A `.npy` of that header and 96 bytes."""
    content = text.encode().ljust(118) + b"\n"
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(content))
    return b"\x93NUMPY" + version + size + content + bytes(96)


@pytest.mark.parametrize(
    "content",
    [
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (4, 3), }")[:50],
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 3), }"),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (-4, 3), }"),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': ('a', 3), }"),
        header("{'descr': '<q8', 'fortran_order': False, 'shape': (4, 3), }"),
        header("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (4, 3), }"),
        header("(" * 100),
        header("__import__('os').system('ls')"),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (4, 3), }", b"\x09\x00"),
        b"\x93NUMPY",
        b"",
        b"\x80\x04\x95",
    ],
)
def test_a_broken_header_is_one_line(content: bytes, tmp_path: Path) -> None:
    for name, array in arrays().items():
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "x_test.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"x_test\.npy: ") as caught:
        check_source(DataSpec(kind="numpy", uri=str(tmp_path)))
    assert len(str(caught.value).splitlines()) == 1


def test_an_archive_that_unpacks_to_too_much_is_refused_unread(tmp_path: Path) -> None:
    spec = npz(tmp_path)
    with zipfile.ZipFile(tmp_path / "d.npz", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_calibration.npy", header("{'descr': '|u1', 'fortran_order': False, 'shape': (9, 3), }"))
    content = bytearray((tmp_path / "d.npz").read_bytes())
    entry = content.rindex(b"PK\x01\x02")  # what the directory says of the last member, its unpacked size among it
    content[entry + 24 : entry + 28] = struct.pack("<I", 3_600_000_000)
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"x_calibration\]: unpacks to 3,600,000,000 bytes"):
        check_source(spec)


@pytest.mark.parametrize("place", ["/dev/zero", "pipe", "loop"])
def test_what_is_neither_a_file_nor_a_folder_is_refused_at_once(place: str, tmp_path: Path) -> None:
    path = tmp_path / place
    if place in ("pipe", "loop"):
        {"pipe": pipe, "loop": loop}[place](path)
    for kind in ("npz", "csv", "numpy", "image_folder", "tfrecord"):
        options = {"label": "y", "split": "s"} if kind == "csv" else {}
        with pytest.raises(InputError, match=r"is neither a file nor a folder|cannot be read"):
            check_source(DataSpec.model_validate({"kind": kind, "uri": str(path), "options": options}))


ROWS = "".join(f"{row},{row % 2},{'train' if row < 20 else 'test'}\n" for row in range(40))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,y,s\n" + ROWS.replace("3,1,train", "3,,train"), r":5, column 'y': has no label\. Remove the row"),
        (("a,y,s\n" + ROWS).replace(",", ";"), r":1: its columns are separated by ';' and not by ','\. Write it"),
        (("a,y,s\n" + ROWS).replace(",", "\t"), r"separated by '\\t'"),
        ("a,a,y,s\n" + ROWS, r":1: has two columns 'a'\. Rename"),
        ("y,s\n" + ROWS, r"has no column of values beside 'y'"),
        (",y,s\n" + ROWS, r"column 1 has no name\. Name the columns to use"),
        ("a,y,s\n" + ROWS + "5,1,train,9\n", r":42: has 4 cells, the header 3"),
        ("a,y,s\n" + ROWS + "5\n", r":42: has 1 cells, too few"),
        ("a,y,s\n" + ROWS.replace("\n7,", "\nx,"), r":9: column 'a' holds 'x', no number"),
        ("a,y,s\n" + ROWS.replace("\n7,", "\nnan,"), r"sample 7 has NaN or infinite values"),
        ("a,y,s\n" + ROWS.replace("3,1,train", "3,99999999999,train"), r"has label|no class indices"),
        ("a,y,s\n" + ROWS.replace("3,1,train", "3,1,trian"), r":5: column 's' says 'trian'"),
        ("", r"has no column 'y'"),
    ],
)
def test_a_csv_that_cannot_be_used_is_told_with_line_and_column(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        check_source(csv(tmp_path))


def csv(root: Path) -> DataSpec:
    return DataSpec.model_validate({"kind": "csv", "uri": str(root / "d.csv"), "options": {"label": "y", "split": "s"}})


def test_a_csv_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes(b"\xef\xbb\xbf" + f"a,y,s\n{ROWS}".replace("\n", "\r\n").encode())
    assert check_source(csv(tmp_path)).samples == {"train": 20, "calibration": 20, "test": 20}
    (tmp_path / "d.csv").write_bytes(f"a,y,s\n{ROWS}".replace("train", "tr\xe4in").encode("latin-1"))
    with pytest.raises(InputError, match=r"is no readable CSV file .* Save it as UTF-8"):
        check_source(csv(tmp_path))


def shards(
    root: Path, name: str, *, label: Callable[[int], Any] = int, pack: Callable[[bytes], bytes] = bytes
) -> DataSpec:
    """16 images in two shards for each split, under names like `name`."""
    root.mkdir()
    for split, rows in (("train", range(8)), ("test", range(8, 16))):
        for shard in range(2):
            content = [record(example(image=png(GREY[row]), label=label(int(LABELS[row])))) for row in rows[shard::2]]
            (root / name.format(split=split, shard=shard)).write_bytes(pack(b"".join(content)))
    return DataSpec(kind="tfrecord", uri=str(root))


@pytest.mark.parametrize(
    ("name", "label", "pack"),
    [
        ("mnist-{split}.tfrecord-0000{shard}-of-00002", int, bytes),
        ("{split}-0000{shard}-of-00002.tfrecord", int, bytes),
        ("{split}.record-0000{shard}-of-00002", int, bytes),
        ("{split}-{shard}.tfrecord.gz", int, gzip.compress),
        ("{split}-{shard}.tfrecord", int, zlib.compress),
        ("{split}-{shard}.tfrecord", lambda label: [b"cat", b"dog"][label], bytes),
    ],
)
def test_record_files_of_other_tools_are_read(name: str, label: Any, pack: Any, tmp_path: Path) -> None:
    manifest = prepare_data(shards(tmp_path / "d", name, label=label, pack=pack), 0, tmp_path / "out")
    assert {split: info.samples for split, info in manifest.splits.items()} == {"train": 8, "calibration": 8, "test": 8}
    assert manifest.class_names == (["cat", "dog"] if label is not int else [])
    test = Splits.open(tmp_path / "out").test
    order = [8, 10, 12, 14, 9, 11, 13, 15]
    np.testing.assert_array_equal(np.asarray(test.x)[..., 0], GREY[order])
    np.testing.assert_array_equal(test.y, LABELS[order])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), r"x-train\.tfrecord-\*: shard 00000 of 00002 is missing"),
        (pipe, r"x-train\.tfrecord-00000-of-00002: is not a file"),
        (lambda path: path.write_bytes(gzip.compress(bytes(1 << 20))[:-9]), r"is truncated"),
        (lambda path: path.write_bytes(gzip.compress(b"x" * 99)), r"is no TFRecord file, or damaged at byte 0"),
        (lambda path: path.write_bytes(record(example(image=png(GREY[0])))), r"has no feature 'label'"),
        (lambda path: path.write_bytes(record(example(image=png(GREY[0]), label=b""))), r"neither a number nor a text"),
        (lambda path: path.write_bytes(record(example(image=png(GREY[0]), label=b"cat"))), r"another length or kind"),
        (lambda path: path.write_bytes(record(example(image=b"GIF89a", label=1))), r"at byte 12: is "),
    ],
)
def test_broken_record_files_are_named(damage: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    spec = shards(tmp_path / "d", "x-{split}.tfrecord-0000{shard}-of-00002")
    damage(tmp_path / "d" / "x-train.tfrecord-00000-of-00002")
    with pytest.raises(InputError, match=message):
        check_source(spec)
