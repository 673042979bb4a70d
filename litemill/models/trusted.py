"""Decide whether loading a model can run code of its file: everything it names must be known, whatever it is.

Keras builds a model from a configuration that names classes, functions and modules, and looks each of them up, Keras 2
in any module that can be imported. So the whole configuration is walked before Keras sees it, and one name that is not
on the lists of `litemill.models.known` refuses the file. A list of what is dangerous would be out of date tomorrow.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from litemill.errors import InputError
from litemill.models.known import Version, known, operations, tensorflow_functions

DEPTH = 200
"""Levels of nesting: Keras' own configurations have about six for each nested model."""

NOT_COMPILED = ("compile_config", "training_config")
"""Parts that are left out when a model is loaded, as every model is, without compiling it."""

PLAIN = frozenset(
    {
        "TensorShape",
        "__bytes__",
        "__ellipsis__",
        "__keras_tensor__",
        "__numpy__",
        "__slice__",
        "__tensor__",
        "__tuple__",
    }
)
"""Class names that stand for values, not for classes."""
SPECS = frozenset({"tf.TensorSpec", "tf.RaggedTensorSpec", "tf.SparseTensorSpec"})
CODE = ("Lambda", "__lambda__")
OP_LAYERS = ("TFOpLambda", "SlicingOpLambda")
OP_MODULES = (None, "keras.layers", "keras.src.layers.core.tf_op_layer")

ROLE = re.compile(r"(^|_)(activation|initializer|regularizer|constraint|fn|function|loss)$")
"""Keys whose value, where it is a string, names something that is called."""
ALSO_NAMES = frozenset({"gaussian", "laplacian"})
"""Of RandomFourierFeatures' initializer, which no list has."""
READS_FILES = ("vocabulary", "idf_weights", "filepath")
"""Keys whose value, where it is a string, is a path that a layer reads."""
FUNCTION_TYPE = re.compile(r"(^|_)(function|output_shape|mask|fn)_type$")

GRAPH_FIX = "Give a SavedModel, which needs no code of yours: model.export(folder)"
TRUST_FIX = "or, if you trust the file, set model.allow_unsafe: true"


class Finding(NamedTuple):
    """Something in a model that is not known, and what to do about it."""

    what: str
    fix: str


def refuse_unknown(config: dict[str, Any], version: Version, path: Path) -> None:
    """Refuse a configuration that names anything which is not Keras' own.

    Raises:
        InputError: It does; with the layer and the name.
    """
    for finding in findings(config, version):
        raise InputError(finding.what, where=str(path), fix=finding.fix)


def findings(config: dict[str, Any], version: Version) -> Iterator[Finding]:
    """What in a model's configuration is not known, found by walking all of it."""
    walk = _Walk(version)
    yield from walk.value({key: value for key, value in config.items() if key not in NOT_COMPILED}, "", 0)
    for part in NOT_COMPILED:
        yield from walk.not_compiled(config.get(part), 0)


class _Walk:
    """One walk through a configuration; `layer` is the name of the nearest layer around a value."""

    def __init__(self, version: Version) -> None:
        self.version = version
        self.known = known(version)

    def value(self, value: Any, layer: str, depth: int) -> Iterator[Finding]:
        if depth > DEPTH:
            yield Finding(f"its configuration is nested more than {DEPTH} levels deep", "It is damaged or made to harm")
        elif isinstance(value, list):
            for item in value:
                yield from self.value(item, layer, depth + 1)
        elif isinstance(value, dict):
            layer = _name(value) or layer
            operation = value.get("class_name") in OP_LAYERS
            if "class_name" in value:
                yield from self._named(value, layer)
            for key, item in value.items():
                inner = {k: v for k, v in item.items() if k != "function"} if _is_config(key, item, operation) else item
                if key != "module" or "class_name" not in value:
                    yield from self._entry(key, item, layer)
                yield from self.value(inner, layer, depth + 1)

    def _named(self, value: dict[str, Any], layer: str) -> Iterator[Finding]:
        """A dictionary that has a class name: Keras will look it up."""
        name, inner = value["class_name"], value.get("config")
        module, registered = value.get("module"), value.get("registered_name")
        if not isinstance(name, str) or not isinstance(module, str | None) or not isinstance(registered, str | None):
            yield Finding("its configuration is not one that Keras writes", "It is damaged or made to harm")
            return
        module = re.sub(r"^tf_keras\b", "keras", module) if module else None
        bare = not module and not registered
        if name in CODE:
            fix = f"Use a built-in layer such as Rescaling; {TRUST_FIX}"
            yield Finding(f"layer {layer!r} is a Lambda: Python code, which is not loaded", fix)
        elif bare and (name in PLAIN or (name == "TypeSpec" and value.get("type_spec") in SPECS)):
            return
        elif name == "function":
            if not self._is_function(inner, module) or registered not in (None, inner, "function"):
                yield self._unknown("function", inner, module, registered, layer)
        elif name in OP_LAYERS and module in OP_MODULES and registered in (None, name):
            function = inner.get("function") if isinstance(inner, dict) else None
            if function not in tensorflow_functions():
                yield _refused(f"layer {layer!r} calls tf.{function}, which is not known to compute only")
        elif name == "TensorFlowOpLayer" and module in OP_MODULES and registered in (None, name):
            if (operation := _operation(inner)) not in operations():
                yield _refused(f"layer {layer!r} runs the operation {operation}, which reaches out of the graph")
        elif not self._is_class(name, module) or registered not in (None, name, f"Custom>{name}"):
            yield self._unknown("class", name, module, registered, layer)

    def _is_class(self, name: str, module: str | None) -> bool:
        modules = self.known.classes.get(name)
        return modules is not None and (module is None or module in modules)

    def _is_function(self, name: Any, module: str | None) -> bool:
        modules = self.known.functions.get(name) if isinstance(name, str) else None
        return modules is not None and (module is None or module in modules)

    def _unknown(self, kind: str, name: Any, module: str | None, registered: str | None, layer: str) -> Finding:
        """Name the class or function that is not Keras' own, as it is written in the file."""
        written = registered if registered and registered not in (name, "function") else name
        origin = f" of module {module!r}" if module else ""
        where = f"layer {layer!r}: " if layer else ""
        keras = "Keras 2" if self.version == "keras2" else "Keras 3"
        # Only Keras 2, and only what has a module, can be found by being trusted.
        trusted = f"; {TRUST_FIX}" if module not in (None, "builtins", "__main__") and self.version == "keras2" else ""
        return Finding(f"{where}the {kind} {written!r}{origin} is not one of {keras}", GRAPH_FIX + trusted)

    def _entry(self, key: str, item: Any, layer: str) -> Iterator[Finding]:
        """A key whose value Keras looks up, opens or runs although no class name says so."""
        if FUNCTION_TYPE.search(key) and item in ("lambda", "function"):
            yield _refused(f"layer {layer!r} holds Python code ({key}: {item}), which is not loaded")
        elif (key == "module" or key.endswith("_module")) and item is not None:
            if not isinstance(item, str) or re.sub(r"^tf_keras\b", "keras", item) not in self.known.modules:
                yield _refused(f"layer {layer!r} asks for the module {item!r}, which is not one of Keras")
        elif not isinstance(item, str):
            return
        elif ROLE.search(key) and item not in self.known.functions and item not in ALSO_NAMES:
            yield self._unknown("function", item, None, None, layer)
        elif key in READS_FILES:
            what = f"layer {layer!r} reads the file {item!r} when it is loaded ({key})"
            yield Finding(what, "Save it with the entries themselves, set by adapt() or as a list")

    def not_compiled(self, value: Any, depth: int) -> Iterator[Finding]:
        """Losses, metrics and optimizers, which are never built: the user's own pass, but nothing that is an attack."""
        if depth > DEPTH:
            yield Finding(f"its configuration is nested more than {DEPTH} levels deep", "It is damaged or made to harm")
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from self.not_compiled(item, depth + 1)
        if not isinstance(value, dict):
            return
        name, module = value.get("class_name"), value.get("module")
        if name in CODE:
            fix = f"Save it before model.compile(), or with a loss that has a name; {TRUST_FIX}"
            yield Finding("it was compiled with a Lambda: Python code, which is not loaded", fix)
        elif isinstance(module, str) and module.split(".")[0] in _FOREIGN:
            yield _refused(
                f"it was compiled with {value.get('config')!r} of module {module!r}, which is not one of Keras"
            )


_FOREIGN = (frozenset(sys.stdlib_module_names) | {"numpy", "tensorflow"}) - {"builtins", "__main__"}
"""Modules where nobody has a loss of their own."""


def _refused(what: str) -> Finding:
    return Finding(what, f"{GRAPH_FIX}; {TRUST_FIX}")


def _name(value: dict[str, Any]) -> str:
    """The name of a layer that a dictionary describes; empty for another dictionary."""
    inner = value.get("config")
    name = value.get("name") or (inner.get("name") if isinstance(inner, dict) else "")
    return name if isinstance(name, str) and "class_name" in value else ""


def _is_config(key: str, item: Any, operation: bool) -> bool:
    """Whether this is the configuration of a layer that calls a function of TensorFlow, judged by a list of its own."""
    return operation and key == "config" and isinstance(item, dict)


def _operation(config: Any) -> Any:
    """Type of the operation that a TensorFlowOpLayer of TensorFlow 2.3 and before runs."""
    try:
        return json.loads(config["node_def"])["op"]
    except (TypeError, KeyError, ValueError):
        return None
