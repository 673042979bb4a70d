"""Kinds of data source: one record each, with its options. Also the kernels to judge with.

Another package adds a kind by an entry point of the group `litemill.data` that names a `DataKind`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from litemill.config.base import Section
from litemill.plugins import Registry

REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*\Z")
"""A function by name: package.module:function."""


class KindOptions(Section):
    """Options of a kind of source."""

    def encodes_images(self) -> bool:
        """Whether the samples are encoded images, of a kind that can hold such."""
        return True

    def names_inputs(self, inputs: Collection[str]) -> bool:
        """Whether the options fit a model with several inputs of these names."""
        return True


class NoOptions(KindOptions):
    """A kind without options."""


class ImageFolderOptions(KindOptions):
    """Images in one folder a class, below `train`, `test` and perhaps `calibration`, or straight below the folder."""

    test_fraction: float = Field(0.2, gt=0, lt=1, description="drawn as test split where the folder has none")


class TFRecordFeature(KindOptions):
    """A feature of tf.train.Example records that holds the samples of an input."""

    x: str = Field("image", description="feature that holds the sample")
    encoding: Literal["image", "raw", "values"] = Field(
        "image", description="JPEG or PNG bytes; the bytes of an array; or a list of numbers"
    )
    shape: list[PositiveInt] = Field(default_factory=list, description="of a sample; for raw and values")
    dtype: Literal["uint8", "int8", "int16", "int32", "float32"] = Field("uint8", description="of raw bytes")

    @model_validator(mode="after")
    def _shape_given(self) -> TFRecordFeature:
        if self.encoding != "image" and not self.shape:
            raise ValueError(f"encoding {self.encoding} needs the shape of a sample")
        return self


class TFRecordOptions(TFRecordFeature):
    """`train*.tfrecord`, `test*.tfrecord` and perhaps `calibration*.tfrecord` of tf.train.Example records."""

    y: str = Field("label", description="feature that holds the label")
    inputs: dict[str, TFRecordFeature] = Field(
        default_factory=dict, description="of a model with several: the feature of each input by its name"
    )

    def encodes_images(self) -> bool:
        """See `KindOptions.encodes_images`."""
        return self.encoding == "image"

    def names_inputs(self, inputs: Collection[str]) -> bool:
        """See `KindOptions.names_inputs`: each has a feature here."""
        return set(self.inputs) == set(inputs)

    def features(self, inputs: Iterable[str]) -> dict[str, TFRecordFeature]:
        """The feature of each input; that of the only one under the empty name."""
        return {name: self.inputs[name] for name in inputs} or {"": self}


class CsvOptions(KindOptions):
    """Rows of numbers, cut into windows: one file with a column that names the split, or `train.csv` and `test.csv`."""

    label: str = Field(description="column with the label")
    features: list[str] = Field(default_factory=list, description="columns with the values; by default all others")
    window: PositiveInt = Field(1, description="rows in a sample; 1 gives samples of shape [features]")
    stride: int = Field(0, ge=0, description="rows from one window to the next; 0 means no overlap")
    recording: str = Field("", description="column that names the recording: no window spans two")
    split: str = Field("", description="column that says train, calibration or test")


class PythonOptions(KindOptions):
    """A function of the user's own."""

    function: str = Field(pattern=REFERENCE, description="package.module:function, given the uri where there is one")
    arguments: dict[str, Any] = Field(default_factory=dict, description="further keyword arguments")


INPUT_NAME = re.compile(r"[A-Za-z_][\w.-]*\Z")
"""Name of a model's input, as its signature has it."""


@dataclass(frozen=True)
class DataKind:
    """A kind of source.

    Attributes:
        name: What `data.kind` calls it.
        summary: What it is, for the reader.
        opens: What opens it, as `package.module:function`: called with the data section and the seed of draws, it
            returns a `litemill.data.source.Source`.
        options: The model of `data.options`.
        uri: Whether `data.uri` has to be given, may be, or may not.
        several_inputs: Whether it can hold the samples of a model with several inputs.
        images: Whether its samples can be encoded images, which are decoded to the model's size and colour.
    """

    name: str
    summary: str
    opens: str
    options: type[KindOptions] = NoOptions
    uri: Literal["needed", "optional", "refused"] = "needed"
    several_inputs: bool = False
    images: bool = False


DATA_KINDS = Registry(
    "kind",
    "litemill.data",
    DataKind,
    [
        DataKind(
            "npz",
            "one .npz file with x_train, y_train, x_test, y_test",
            "litemill.data.arrays:open_npz",
            several_inputs=True,
        ),
        DataKind(
            "numpy",
            "a folder of .npy files, named like the arrays of an npz",
            "litemill.data.arrays:open_numpy",
            several_inputs=True,
        ),
        DataKind(
            "image_folder",
            "images in one folder a class",
            "litemill.data.image_folder:open_image_folder",
            ImageFolderOptions,
            images=True,
        ),
        DataKind(
            "tfrecord",
            "files of tf.train.Example records",
            "litemill.data.tfrecord:open_tfrecord",
            TFRecordOptions,
            several_inputs=True,
            images=True,
        ),
        DataKind("csv", "rows of numbers, cut into windows", "litemill.data.csv_windows:open_csv", CsvOptions),
        DataKind(
            "python",
            "what a function of your own returns",
            "litemill.data.python:open_python",
            PythonOptions,
            uri="optional",
            several_inputs=True,
        ),
        DataKind("digits", "8×8 digits that come with scikit-learn", "litemill.data.digits:open_digits", uri="refused"),
        DataKind(
            "fashion_mnist",
            "Fashion-MNIST, from a folder or the web",
            "litemill.data.fashion_mnist:open_fashion_mnist",
            uri="optional",
        ),
    ],
)
"""Kinds of source by name."""

Kernels = Literal["xnnpack", "reference"]
"""Which kernels evaluate a variant: XNNPACK (phones, this host), or the reference ones, which equal TFLM's."""
