"""The components as files that any Kubeflow pipeline can load, and a table of them."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from kfp import compiler
from kfp.dsl.base_component import BaseComponent

from litemill import components
from litemill.artifacts.files import write_text
from litemill.components.images import TRAIN
from litemill.pipelines.tasks import UNCACHED

FILE = "component.yaml"
INTRODUCTION = """\
# Components

Each folder holds one step of Litemill as a Kubeflow component. Any pipeline can load it; Litemill need not be
installed where the pipeline is compiled:

```python
from kfp import components, dsl

prepare_data = components.load_component_from_file("components/prepare_data/component.yaml")
import_model = components.load_component_from_file("components/import_model/component.yaml")
evaluate = components.load_component_from_file("components/evaluate/component.yaml")


@dsl.pipeline(name="nightly-check")
def nightly_check(model_uri: str = "gs://bucket/model.keras"):
    data = prepare_data(data={"kind": "npz"}, uri="gs://bucket/test.npz", sha256="", seed=0).outputs["dataset"]
    made = import_model(uri=model_uri, sha256="", allow_unsafe=False, dataset=data)
    evaluate(variants=made.outputs["baseline"], dataset=data, kernels="xnnpack")
```

A component calls one public function of `litemill` of the same name, whose documentation says more:
`python -c "import litemill; help(litemill.evaluate)"`. `options`, `training`, `recipes`, `data` and `budget` are what a
run config has in their place. An empty `sha256` is not checked; one that is given also keeps Kubeflow's cache from
serving what was computed from an older file at the same address.

What touches MLflow is never cached. Inputs with a `?` are optional. `make golden` writes this folder anew;
`litemill components --out DIR` does so for images of your own, named by `LITEMILL_TRAIN_IMAGE` and
`LITEMILL_EDGE_IMAGE`.

"""


def publish_components(folder: Path) -> list[Path]:
    """Write `<name>/component.yaml` for each component, and a README with a table of them.

    Args:
        folder: Where to; files of these names in it are replaced.

    Returns:
        The files written.
    """
    written = []
    for name, component in all_components().items():
        file = folder / name / FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        compiler.Compiler().compile(component, str(file))
        written.append(file)
    write_text(folder / "README.md", INTRODUCTION + table())
    return [*written, folder / "README.md"]


def all_components() -> dict[str, BaseComponent]:
    """Every component by name."""
    found = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(components.__path__)):
        component = getattr(importlib.import_module(f"{components.__name__}.{module}"), module, None)
        if isinstance(component, BaseComponent):
            found[module] = component
    return found


def table() -> str:
    """The components as a table in Markdown."""
    lines = ["| component | what it does | image | cached | inputs | outputs |", "|---|---|---|---|---|---|"]
    for name, component in all_components().items():
        spec = component.component_spec
        image = "train" if spec.implementation.container.image == TRAIN else "edge"
        cached = "no" if spec.name in UNCACHED else "yes"
        inputs = ", ".join(f"`{key}`{'?' * one.optional}" for key, one in (spec.inputs or {}).items())
        outputs = ", ".join(f"`{key}`" for key in spec.outputs or {})
        what = f"[`{name}`]({name}/{FILE}) | {spec.description.splitlines()[0]}"
        lines.append(f"| {what} | {image} | {cached} | {inputs} | {outputs or 'none'} |")
    return "\n".join(lines) + "\n"
