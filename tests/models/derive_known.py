"""What the installed Keras and TensorFlow know: writes `litemill/models/known.json`, the lists a model is judged by.

    python -m tests.models.derive_known [OUT.json]

After an upgrade: write the lists anew, and read what changed. In a process of its own: other imports add operations.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from litemill.models.backend import tensorflow, tf_keras
from litemill.models.keras3 import keras3

FILE = Path(__file__).parents[2] / "litemill/models/known.json"
ROOMS = ("activations", "constraints", "initializers", "layers", "losses", "metrics", "optimizers", "regularizers")

RUNS_CODE = re.compile(
    r"^(Lambda|TFSMLayer|TorchModuleWrapper|JaxLayer|FlaxLayer|TensorFlowOpLayer|TFOpLambda|SlicingOpLambda"
    r"|ClassMethod|InstanceMethod|InstanceProperty|DelegatingTFOpLambda|.*CellWrapper\w*|(Residual|Dropout|Device)Wrapper"
    r"|serialize\w*|deserialize\w*|get|keras_export|add_arg_scope|doc_controls|ThreeLayer)$"
)
"""What loads code or files, or looks up what it names. Layers of TensorFlow functions have rules of their own."""

STATEFUL = re.compile(
    r"^(Assert|Case|If|While|StatefulPartitionedCall|VarHandleOp|ReadVariableOp|Assign(Add|Sub)?VariableOp"
    r"|VarIsInitializedOp|VariableShape|Variable(V2)?|TemporaryVariable|DestroyResourceOp|DisableCopyOnRead"
    r"|Resource(Gather|Scatter|Apply|SparseApply|StridedSliceAssign)\w*|(Anonymous)?(Mutable)?(Dense)?HashTable\w*"
    r"|InitializeTableV2|LookupTable\w+|CheckNumerics(V2)?|Random(Gamma|Poisson|Shuffle|Standard|Uniform)\w*"
    r"|Multinomial|TruncatedNormal|ParameterizedTruncatedNormal|Stateful(Random|Standard|Truncated|Uniform)\w+"
    r"|NonDeterministicInts|Rng\w+|StatelessRandomGetAlg|TensorArray\w*|Stack\w*|GuaranteeConst|DeepCopy|DeviceIndex"
    r"|Empty|CudnnRNN\w*)$"
)
"""Operations with state that stays within the graph: variables, tables, random numbers, control flow."""

OUTSIDE = re.compile(
    r"^_|File|Dataset|Iterator|Reader|Py|Debug|T[Pp][Uu]|Xla|Snapshot|Save|Restore|Summary|Host|Nccl|Collective|Dummy|Sql"
    r"|Load|Remote|Mlir|TRT|TensorRT|DataService|Rpc|Server|Session|Print|Send$|Recv$|ImmutableConst|GenerateVocab"
    r"|Sleep|Disk|Mutex|Skipgram|CandidateSampler|Checkpoint"
)
"""Operations without state that reach out of the graph all the same: files, Python, other devices and machines."""

LEGACY = (
    "uniform",
    "normal",
    "one",
    "zero",
    "relu6",
    "silu",
    "leaky_relu",
    "acc",
    "ce",
    "mse",
    "bce",
    "kld",
    "lecun",
    "l1l2",
)
"""Spellings of old files."""

TENSORFLOW_FUNCTIONS = (
    "",
    "__operators__",
    "bitwise",
    "dtypes",
    "image",
    "linalg",
    "math",
    "nn",
    "quantization",
    "random",
    "signal",
    "strings",
)
"""Public modules of TensorFlow whose functions compute; the first is the top one."""
NO_COMPUTATION = re.compile(
    r"^(Assert|py_function|numpy_function|load_\w+|print|function|get_\w+|init_scope|is_\w+|control_dependencies|device"
    r"|custom_gradient|recompute_grad|no_gradient|register\w*|map_fn|scan|foldl|foldr|while_loop|cond|case|switch_case"
    r"|vectorized_map|py_func|graph_\w+|stop_gradient_\w+|executing_eagerly\w*|inside_function|name_scope|assert_\w+"
    r"|autograph\w*|hessians|gradients|variable_creator_scope|type_spec_from_value|set_seed|all_candidate_sampler"
    r"|\w*candidate_sampler|set_random_seed|Variable\w*|create_\w+|global_\w+|set_\w+|check_pinned|group|tuple|make_\w+|nondifferentiable\w*)$"
)


def main() -> None:
    """Write the lists."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    out.write_text(json.dumps(derive(), indent=0, sort_keys=True) + "\n")
    sys.stdout.write(f"{out}: {out.stat().st_size} bytes\n")


def derive() -> dict[str, Any]:
    """The lists as they should be for the packages that are installed."""
    tensorflow()
    return {
        "keras2": {"classes": _plain(_keras2_classes()), "functions": _plain(_functions(tf_keras()))},
        "keras3": {"classes": _plain(_keras3_classes()), "functions": _plain(_functions(keras3()))},
        "tensorflow": {"functions": _tensorflow_functions(), "ops": _operations()},
    }


def _plain(found: dict[str, set[str]]) -> dict[str, list[str]]:
    return {name: sorted(modules) for name, modules in sorted(found.items()) if not RUNS_CODE.match(name)}


def _public(root: ModuleType, rooms: tuple[str, ...]) -> Iterator[tuple[str, str, Any]]:
    """Module, name and object of everything public in some modules, one level of submodules included."""
    for room in rooms:
        module = getattr(root, room)
        inner = [value for _, value in inspect.getmembers(module, inspect.ismodule)]
        for place in [module, *(one for one in inner if room in one.__name__)]:
            name = (
                place.__name__.replace("tf_keras.api._v2.", "").replace("tf_keras.", "keras.").replace("._tf_keras", "")
            )
            for key, value in vars(place).items():
                if not key.startswith("_"):
                    yield name.replace("keras.api.", "keras."), key, value


def _modules(cls: Any) -> str:
    return str(cls.__module__).replace("tf_keras.", "keras.")


def _keras2_classes() -> dict[str, set[str]]:
    from tf_keras.src.layers import serialization
    from tf_keras.src.saving import object_registration

    keras = tf_keras()
    found: dict[str, set[str]] = defaultdict(set)
    serialization.populate_deserializable_objects()
    for name, cls in serialization.LOCAL.ALL_OBJECTS.items():
        if inspect.isclass(cls):
            found[name] |= {_modules(cls), "keras.layers"}
    for room, name, cls in _public(keras, ROOMS):
        if inspect.isclass(cls) and hasattr(cls, "from_config"):
            found[name] |= {room, _modules(cls)}
    for name in ("Functional", "Sequential", "Model"):
        found[name] |= {"keras", "keras.models", "keras.src.engine.functional", "keras.src.engine.training"}
    for name, cls in vars(tensorflow().keras.initializers).items():
        if inspect.isclass(cls) and name in vars(sys.modules["tensorflow.python.ops.init_ops_v2"]):
            found[name] |= {"tensorflow.python.ops.init_ops_v2"}  # as some of Keras' own applications write them
    for name, cls in object_registration._GLOBAL_CUSTOM_OBJECTS.items():
        if name == f"Custom>{cls.__name__}" and cls.__module__.startswith("tf_keras."):
            found[name] |= {_modules(cls)}
            found[cls.__name__] |= {_modules(cls)}
    for name in ("Policy", "PolicyV1"):
        found[name] |= {"keras.mixed_precision", "keras.src.mixed_precision.policy"}
    return found


def _keras3_classes() -> dict[str, set[str]]:
    import pkgutil

    import keras.src.ops as ops

    keras = keras3()
    found: dict[str, set[str]] = defaultdict(set)
    for room, name, cls in _public(keras, (*ROOMS, "dtype_policies", "quantizers", "models")):
        if inspect.isclass(cls) and hasattr(cls, "from_config"):
            found[name] |= {room, _modules(cls)}
    for name in ("Functional", "Sequential", "Model"):
        found[name] |= {"keras", "keras.models", "keras.src.models.functional", "keras.src.models.sequential"}
    for name in ("DTypePolicy", "FloatDTypePolicy", "DTypePolicyMap"):
        found[name] |= {"keras", "keras.dtype_policies"}
    for module in pkgutil.iter_modules(ops.__path__, "keras.src.ops."):
        if module.name.endswith("_test"):
            continue
        for name, cls in vars(__import__(module.name, fromlist=["_"])).items():
            if inspect.isclass(cls) and issubclass(cls, keras.Operation) and cls.__module__ == module.name:
                found[name] |= {module.name}
    return found


def _functions(keras: Any) -> dict[str, set[str]]:
    """Functions by name, and the short names of classes, which a configuration may give as a string."""
    found: dict[str, set[str]] = defaultdict(set)
    for room, name, value in _public(keras, ROOMS):
        if inspect.isfunction(value) or (inspect.isclass(value) and hasattr(value, "from_config")):
            found[name] |= {room, "builtins"} | ({_modules(value)} if inspect.isfunction(value) else set())
    for room in ("initializers", "constraints", "regularizers", "activations", "losses", "metrics"):
        for name in _short_names(getattr(keras, room)):
            found[name] |= {f"keras.{room}", "builtins"}
    return found


def _short_names(room: Any) -> list[str]:
    """Names that `get` takes as a string, found by asking it for all spellings that either Keras knows."""
    spellings = set(LEGACY)
    for keras in (tf_keras(), keras3()):
        for name, value in vars(getattr(keras, room.__name__.rpartition(".")[2])).items():
            if callable(value) and not name.startswith("_") and not RUNS_CODE.match(name):
                spellings |= {re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower(), name.lower(), name}
    return [name for name in spellings if _gets(room, name)]


def _gets(room: Any, name: str) -> bool:
    try:
        return callable(room.get(name))
    except Exception:
        return False


def _tensorflow_functions() -> list[str]:
    """Functions that compute, by the name that a TFOpLambda layer keeps."""
    from tensorflow.python.util.tf_export import get_canonical_name_for_symbol

    tf, names = tensorflow(), set()
    for room in TENSORFLOW_FUNCTIONS:
        module = getattr(tf, room) if room else tf
        for name, value in vars(module).items():
            canonical = get_canonical_name_for_symbol(value, add_prefix_to_v1_names=True) if callable(value) else None
            computes = not inspect.isclass(value) and not name.startswith("_") and not NO_COMPUTATION.match(name)
            if canonical and computes and canonical.rpartition(".")[0] in TENSORFLOW_FUNCTIONS:
                names.add(canonical)
    operators = tf.__operators__
    names |= {f"__operators__.{name}" for name in vars(operators) if not name.startswith("_")}
    names |= {
        f"keras.activations.{name}"
        for name, value in vars(tf_keras().activations).items()
        if inspect.isfunction(value) and not RUNS_CODE.match(name)
    }
    return sorted(names)


def _operations() -> list[str]:
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session

    everything = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    return sorted(op.name for op in everything.op if (STATEFUL if op.is_stateful else _Not(OUTSIDE)).match(op.name))


class _Not:
    """A pattern that must not be found."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern = pattern

    def match(self, name: str) -> bool:
        return not self.pattern.search(name)


if __name__ == "__main__":
    main()
