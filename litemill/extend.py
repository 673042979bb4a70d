"""What a package that extends Litemill imports: the records, and what its own code is given and gives back.

Nothing heavy is loaded with a record, so a package can name all that it brings at the top of a module. See
docs/extending.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # loaded when a name is used, as in litemill/__init__.py
    from litemill.artifacts.storage import Found as Found
    from litemill.artifacts.storage import Store as Store
    from litemill.artifacts.storage import fetch as fetch
    from litemill.benchmark.session import Subject as Subject
    from litemill.config.data import DataSpec as DataSpec
    from litemill.config.data_kinds import DataKind as DataKind
    from litemill.config.data_kinds import KindOptions as KindOptions
    from litemill.config.schemes import Options as Options
    from litemill.config.schemes import Scheme as Scheme
    from litemill.config.target_specs import TargetSpec as TargetSpec
    from litemill.config.targets import TargetKind as TargetKind
    from litemill.convert.findings import Converted as Converted
    from litemill.convert.from_saved_model import converter_of as converter_of
    from litemill.data.labels import targets_for as targets_for
    from litemill.data.source import Source as Source
    from litemill.data.source import SourceSplit as SourceSplit
    from litemill.data.source import reading_array as reading_array
    from litemill.errors import ConfigError as ConfigError
    from litemill.errors import DeviceError as DeviceError
    from litemill.errors import InputError as InputError
    from litemill.errors import StepFailed as StepFailed
    from litemill.evidence.outcome import Measurement as Measurement
    from litemill.tasks.metrics import Metric as Metric

PLACES: dict[str, str] = {
    "ConfigError": "litemill.errors",
    "Converted": "litemill.convert.findings",
    "DataKind": "litemill.config.data_kinds",
    "DataSpec": "litemill.config.data",
    "DeviceError": "litemill.errors",
    "Found": "litemill.artifacts.storage",
    "InputError": "litemill.errors",
    "KindOptions": "litemill.config.data_kinds",
    "Measurement": "litemill.evidence.outcome",
    "Metric": "litemill.tasks.metrics",
    "Options": "litemill.config.schemes",
    "Scheme": "litemill.config.schemes",
    "Source": "litemill.data.source",
    "SourceSplit": "litemill.data.source",
    "StepFailed": "litemill.errors",
    "Store": "litemill.artifacts.storage",
    "Subject": "litemill.benchmark.session",
    "TargetKind": "litemill.config.targets",
    "TargetSpec": "litemill.config.target_specs",
    "converter_of": "litemill.convert.from_saved_model",
    "fetch": "litemill.artifacts.storage",
    "reading_array": "litemill.data.source",
    "targets_for": "litemill.data.labels",
}
"""Where each name is. Names stay: other packages use them."""

__all__ = list(PLACES)


def __getattr__(name: str) -> object:
    """Load a name when it is first used (PEP 562)."""
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(PLACES[name]), name)
