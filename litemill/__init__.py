"""Litemill: from one trained Keras model to the `.tflite` file worth shipping, with the evidence.

Everything to import is here, and loaded when it is first used: `import litemill as lm` takes milliseconds and needs
neither TensorFlow nor numpy.

The whole pipeline in one call, from a config file or from a spec built in Python:

    results = lm.run("doorbell.yaml", out="out/doorbell")
    results.winner

One step at a time, each reading the folders that earlier ones wrote: `prepare_data`, `import_model`, `train`,
`convert`, `evaluate`, `benchmark`, `compare`. The same names are the commands of the program `litemill` and the
components of the pipeline.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:  # `import litemill` runs none of this; type checkers and editors do
    from litemill.artifacts.storage import digest as digest
    from litemill.config.budget import Budget as Budget
    from litemill.config.data import DataSpec as DataSpec
    from litemill.config.load import load_config as load_config
    from litemill.config.run import ModelSpec as ModelSpec
    from litemill.config.run import RunSpec as RunSpec
    from litemill.config.run import Training as Training
    from litemill.doctor.check import check as check
    from litemill.doctor.diagnose import doctor as doctor
    from litemill.errors import ConfigError as ConfigError
    from litemill.errors import DeviceError as DeviceError
    from litemill.errors import InputError as InputError
    from litemill.errors import LitemillError as LitemillError
    from litemill.errors import StepFailed as StepFailed
    from litemill.pipelines.local import run as run
    from litemill.select.results import Results as Results
    from litemill.stages.benchmark import benchmark as benchmark
    from litemill.stages.champion import champion as champion
    from litemill.stages.compare import compare as compare
    from litemill.stages.convert import convert as convert
    from litemill.stages.evaluate import evaluate as evaluate
    from litemill.stages.explorer import explorer as explorer
    from litemill.stages.finish import finish_run as finish_run
    from litemill.stages.import_model import import_model as import_model
    from litemill.stages.inspect import inspect as inspect
    from litemill.stages.lut import lut as lut
    from litemill.stages.prepare import prepare_data as prepare_data
    from litemill.stages.release import release as release
    from litemill.stages.release import verify as verify
    from litemill.stages.slim import slim as slim
    from litemill.stages.sync import sync as sync
    from litemill.stages.train import train as train
    from litemill.track.comparison import compare_runs as compare_runs
    from litemill.track.promotion import history as history
    from litemill.track.promotion import promote as promote
    from litemill.track.promotion import rollback as rollback
    from litemill.track.register import register as register
    from litemill.track.registry import champion_version as champion_version
    from litemill.track.runs import start_run as start_run
    from litemill.track.runs import tag_run as tag_run
    from litemill.track.variants import log_variants as log_variants

PLACES: dict[str, str] = {
    "Budget": "litemill.config.budget",
    "ConfigError": "litemill.errors",
    "DataSpec": "litemill.config.data",
    "DeviceError": "litemill.errors",
    "InputError": "litemill.errors",
    "LitemillError": "litemill.errors",
    "ModelSpec": "litemill.config.run",
    "Results": "litemill.select.results",
    "RunSpec": "litemill.config.run",
    "StepFailed": "litemill.errors",
    "Training": "litemill.config.run",
    "benchmark": "litemill.stages.benchmark",
    "champion": "litemill.stages.champion",
    "champion_version": "litemill.track.registry",
    "check": "litemill.doctor.check",
    "compare": "litemill.stages.compare",
    "compare_runs": "litemill.track.comparison",
    "convert": "litemill.stages.convert",
    "digest": "litemill.artifacts.storage",
    "doctor": "litemill.doctor.diagnose",
    "evaluate": "litemill.stages.evaluate",
    "explorer": "litemill.stages.explorer",
    "finish_run": "litemill.stages.finish",
    "history": "litemill.track.promotion",
    "import_model": "litemill.stages.import_model",
    "inspect": "litemill.stages.inspect",
    "load_config": "litemill.config.load",
    "log_variants": "litemill.track.variants",
    "lut": "litemill.stages.lut",
    "prepare_data": "litemill.stages.prepare",
    "promote": "litemill.track.promotion",
    "register": "litemill.track.register",
    "release": "litemill.stages.release",
    "rollback": "litemill.track.promotion",
    "run": "litemill.pipelines.local",
    "slim": "litemill.stages.slim",
    "start_run": "litemill.track.runs",
    "sync": "litemill.stages.sync",
    "tag_run": "litemill.track.runs",
    "train": "litemill.stages.train",
    "verify": "litemill.stages.release",
}
"""Where each public name is. Cache keys follow it, so that a change of one room reruns only what uses it.

Names stay: the components' source, which uses them, is frozen into pipelines on servers.
"""

__all__ = [
    "Budget",
    "ConfigError",
    "DataSpec",
    "DeviceError",
    "InputError",
    "LitemillError",
    "ModelSpec",
    "Results",
    "RunSpec",
    "StepFailed",
    "Training",
    "__version__",
    "benchmark",
    "champion",
    "champion_version",
    "check",
    "compare",
    "compare_runs",
    "convert",
    "digest",
    "doctor",
    "evaluate",
    "explorer",
    "finish_run",
    "history",
    "import_model",
    "inspect",
    "load_config",
    "log_variants",
    "lut",
    "prepare_data",
    "promote",
    "register",
    "release",
    "rollback",
    "run",
    "slim",
    "start_run",
    "sync",
    "tag_run",
    "train",
    "verify",
]


def __getattr__(name: str) -> object:
    """Load a public name when it is first used (PEP 562)."""
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, for completion in a notebook."""
    return sorted(__all__)


class _Package(ModuleType):
    """This package, in which a public name is never covered by the folder of the same name.

    The import system sets each loaded folder as an attribute: after `import litemill.convert.batch`, `lm.convert`
    would be the folder, and whether it is the function would depend on what was imported before.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in PLACES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
