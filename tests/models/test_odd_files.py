"""Files that are not files, archives that cannot be read and configurations that no Keras writes: one line each."""

from __future__ import annotations

import json
import os
import socket
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from litemill.errors import InputError
from litemill.models.peek import peek
from litemill.stages.inspect import inspect_file
from tests.models.test_trusted import as_keras2, as_keras3, model


def answer(path: Path) -> str:
    with pytest.raises(InputError) as error:
        peek(path)
    assert error.value.exit_code == 2 and "\n" not in str(error.value)
    return str(error.value)


def test_what_is_not_a_file_is_told_before_it_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.keras")
    assert "pipe.keras: is a named pipe, not a file" in answer(tmp_path / "pipe.keras")
    with pytest.raises(InputError, match="is a named pipe"):
        inspect_file(tmp_path / "pipe.keras")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(tmp_path / "s.h5"))
        assert "is a socket, not a file" in answer(tmp_path / "s.h5")
    assert "is a device, not a file" in answer(Path("/dev/zero"))
    (tmp_path / "saved").mkdir()
    os.mkfifo(tmp_path / "saved/saved_model.pb")
    assert "saved_model.pb: is a named pipe, not a file" in answer(tmp_path / "saved")
    (tmp_path / "loop.h5").symlink_to(tmp_path / "loop.h5")
    assert "cannot be read" in answer(tmp_path / "loop.h5")
    assert "cannot be read" in answer(tmp_path / ("x" * 5000))
    (tmp_path / "empty.keras").touch()
    assert "is neither a .keras archive nor" in answer(tmp_path / "empty.keras")


def test_archives_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    path = as_keras2(tmp_path, model())
    whole = path.read_bytes()

    def changed(flag: int, method: int) -> str:
        data = bytearray(whole)
        for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            place = data.find(signature) + at
            struct.pack_into("<HH", data, place, flag, method)
        path.write_bytes(data)
        return answer(path)

    assert "is encrypted ('config.json')" in changed(1, 0)
    assert "in a compression that is not supported: 'config.json' (method 97)" in changed(0, 97)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * (300 << 20))
        archive.writestr("metadata.json", "{}")
    assert "unpacks to 300 MiB, more than the 256 allowed" in answer(path)


@pytest.mark.parametrize("layers", [5, "x", [5, None, {}], {"a": 1}, None, [{"class_name": "InputLayer", "config": 3}]])
def test_odd_layers_and_shapes_are_no_traceback(layers: Any, tmp_path: Path) -> None:
    for shape in (5, "x", [], [None, -4], [None, 2.5], {"items": 3}, [[None, 4]]):
        config = model()
        config["config"]["layers"][0]["config"]["batch_input_shape"] = shape
        config["config"]["output_layers"] = layers
        for write in (as_keras2, as_keras3):
            facts = peek(write(tmp_path, config))
            assert all(size is None or size >= 0 for end in facts.inputs for size in end)
            assert isinstance(facts.output_names, tuple)
    config["config"]["layers"] = layers
    try:
        peek(as_keras2(tmp_path, config))
    except InputError as error:
        assert "\n" not in str(error)


def test_deep_json_is_one_line(tmp_path: Path) -> None:
    for depth in (300, 100_000):
        config = json.dumps(model()).replace('"units": 3', '"units": ' + "[" * depth + "]" * depth, 1)
        with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
            archive.writestr("config.json", config)
            archive.writestr("metadata.json", '{"keras_version": "2.21.0"}')
        assert "nested" in answer(tmp_path / "m.keras")
