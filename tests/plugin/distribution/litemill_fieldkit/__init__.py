"""What this package brings to Litemill, as records. They name code and import none of it."""

from pydantic import Field

from litemill.extend import DataKind, KindOptions, Metric, Options, Scheme, Store, TargetKind, TargetSpec


class RoundedOptions(Options):
    """Options of the scheme `rounded`."""

    bits: int = Field(8, ge=1, le=22, description="of a weight's mantissa that are kept")


class PagedFlashSpec(TargetSpec):
    """A target `paged-flash`, as a config writes it."""

    page: int = Field(4096, ge=1, description="bytes that are erased, and so taken, at a time")


class JsonlOptions(KindOptions):
    """Options of the kind of data `jsonl`."""

    x: str = Field("x", description="key of the sample: numbers, nested as the model's input is")
    y: str = Field("y", description="key of the label")


ROUNDED = Scheme(
    name="rounded",
    summary="float32 weights with a shorter mantissa: the same size, and an update over the air that compresses",
    from_saved_model="litemill_fieldkit.rounded:from_saved_model",
    from_tflite="litemill_fieldkit.rounded:from_tflite",
    options=RoundedOptions,
    tflite_options={"bits": tuple(range(1, 23))},
)
PAGED_FLASH = TargetKind(
    name="paged-flash",
    summary="flash memory that is written in whole pages: what a file takes there",
    opens="litemill_fieldkit.paged_flash:PagedFlash",
    spec=PagedFlashSpec,
    tells=frozenset({"size"}),
)
JSONL = DataKind(
    name="jsonl",
    summary="a file of JSON lines, each with its split, a sample and a label",
    opens="litemill_fieldkit.jsonl:open_jsonl",
    options=JsonlOptions,
)
BALANCED_ACCURACY = Metric(
    name="balanced_accuracy",
    tasks=("classification",),
    higher_is_better=True,
    compute="litemill_fieldkit.balanced:balanced_accuracy",
    summary="mean recall of the classes",
    fraction=True,
)
ZIP = Store(
    name="zip",
    summary="a file in a zip archive",
    address="zip://archive.zip!path/of/file",
    opens="litemill_fieldkit.zipped:ZipStorage",
    publishes=False,
)
