"""No code of a model's file runs: what hides in a configuration, a metadata node or a graph is found wherever it is."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from litemill.errors import InputError
from litemill.models.backend import tf_keras
from litemill.models.peek import peek
from litemill.models.saved_model import _classes as messages
from litemill.models.source import load_source
from tests.models.made_files import Config, as_h5, as_h5_keras3, as_keras2, as_keras3, as_saved_model

SYSTEM = {"class_name": "function", "config": "system", "module": "os", "registered_name": "system"}
BYTECODE = {"class_name": "__lambda__", "config": {"value": ["4wEAAA==", None, None]}}


def keras_layer(kind: str, name: str, **options: Any) -> Config:
    return {
        "module": "keras.layers",
        "class_name": kind,
        "registered_name": None,
        "config": {"name": name, "trainable": True, "dtype": "float32", **options},
        "name": name,
        "inbound_nodes": [],
    }


def model() -> Config:
    """A configuration as Keras writes it, with a layer of each kind that something can hide in."""
    dense = {
        "units": 3,
        "activation": "relu",
        "kernel_initializer": {"module": "keras.initializers", "class_name": "GlorotUniform", "config": {"seed": None}},
        "kernel_regularizer": None,
        "kernel_constraint": None,
    }
    inner = {"name": "inner", "layers": [keras_layer("Dense", "inner_dense", **dense)]}
    layers = [
        keras_layer("InputLayer", "image", batch_input_shape=[None, 4]),
        keras_layer("Dense", "dense", **dense),
        keras_layer("TimeDistributed", "wrapper", layer=keras_layer("Dense", "wrapped", **dense)),
        keras_layer("RNN", "rnn", cell=keras_layer("LSTMCell", "cell", units=2)),
        keras_layer("Functional", "inner", layers=inner["layers"]) | {"module": "keras.models"},
    ]
    config = {"name": "model", "layers": layers, "input_layers": [["image", 0, 0]], "output_layers": [["dense", 0, 0]]}
    return {"module": "keras", "class_name": "Functional", "registered_name": "Functional", "config": config}


def at(*path: Any) -> Callable[[Config, Any], None]:
    """Put a value somewhere below the model's layers."""

    def put(config: Config, value: Any) -> None:
        place: Any = config["config"]["layers"]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return put


def below(*path: Any) -> Callable[[Config, Any], None]:
    """Put a value somewhere below the whole configuration."""

    def put(config: Config, value: Any) -> None:
        place: Any = config
        for key in path[:-1]:
            place = place.setdefault(key, {}) if isinstance(place, dict) else place[key]
        place[path[-1]] = value

    return put


LAMBDA = keras_layer("Lambda", "scale", function=["4wEAAA==", None, None], function_type="lambda", module="__main__")
HIDING = {
    "a layer": (at(1), SYSTEM | {"name": "dense", "inbound_nodes": []}),
    "a Lambda layer": (at(1), LAMBDA),
    "a wrapped layer": (at(2, "config", "layer"), LAMBDA),
    "a cell": (at(3, "config", "cell"), SYSTEM),
    "a layer of a nested model": (at(4, "config", "layers", 0), LAMBDA),
    "a layer with a registered name": (at(1), SYSTEM | {"registered_name": "Custom>Adadelta", "name": "dense"}),
    "an activation as a function": (at(1, "config", "activation"), SYSTEM),
    "an activation as a name": (at(1, "config", "activation"), "system"),
    "an activation as bytecode": (at(4, "config", "layers", 0, "config", "activation"), BYTECODE),
    "an initializer": (at(1, "config", "kernel_initializer"), SYSTEM | {"class_name": "system", "config": {}}),
    "an initializer as a name": (at(2, "config", "layer", "config", "kernel_initializer"), "popen"),
    "a regularizer": (at(1, "config", "kernel_regularizer"), SYSTEM),
    "a constraint": (
        at(1, "config", "kernel_constraint"),
        {"class_name": "Popen", "module": "subprocess", "config": {}},
    ),
    "the module of a known class": (at(1, "module"), "os"),
    "the registered name of a known class": (at(1, "registered_name"), "system"),
    "a registered name beside a value": (
        at(1, "config", "units"),
        {"class_name": "__tuple__", "items": [], "module": "os", "registered_name": "system", "config": "ls"},
    ),
    "a class of Keras that runs code": (at(1), keras_layer("TFSMLayer", "saved", filepath="/tmp/other")),
    "a function of Keras that is not a layer": (at(1, "class_name"), "load_model"),
    "a function of Keras that fetches": (
        at(1, "config", "activation"),
        SYSTEM | {"module": "keras.utils", "config": "get_file"},
    ),
    "an argument of a call": (at(1, "inbound_nodes"), [{"args": [SYSTEM], "kwargs": {}}]),
    "a keyword of a call": (at(1, "inbound_nodes"), [[["image", 0, 0, {"training": [{"deep": [BYTECODE]}]}]]]),
    "a function type": (at(3, "config", "cell", "config", "residual_fn_type"), "lambda"),
    "a module on its own": (at(3, "config", "cell", "config", "residual_fn_module"), "os"),
    "a TensorFlow function that writes": (at(1), keras_layer("TFOpLambda", "write", function="io.write_file")),
    "a TensorFlow operation that reads": (
        at(1),
        keras_layer("TensorFlowOpLayer", "read", node_def=json.dumps({"name": "read", "op": "ReadFile"})),
    ),
    "a vocabulary in a file": (at(1), keras_layer("StringLookup", "words", vocabulary="/etc/passwd")),
    "a type specification": (
        at(0, "config", "type_spec"),
        {"class_name": "__typespec__", "spec_name": "system", "module": "os", "registered_name": None, "config": []},
    ),
    "the build configuration": (below("build_config", "input_shape"), [SYSTEM]),
    "the loss": (below("compile_config", "loss"), SYSTEM),
    "a metric": (below("compile_config", "metrics"), [["accuracy", BYTECODE]]),
    "a key nobody knows": (below("extra", "more"), [[{"deep": SYSTEM}]]),
    "a subclass": (below("class_name"), "mine>Model"),
}


@pytest.mark.parametrize("write", [as_keras2, as_keras3, as_h5, as_h5_keras3])
def test_what_hides_in_a_configuration_refuses_the_file(write: Callable[[Path, Config], Path], tmp_path: Path) -> None:
    assert peek(write(tmp_path, model())).class_name == "Functional"
    for place, (put, value) in HIDING.items():
        config = model()
        put(config, value)
        with pytest.raises(InputError) as error:
            peek(write(tmp_path, config))
            pytest.fail(f"accepted {place}")
        assert error.value.exit_code == 2 and "\n" not in str(error.value), place
        assert "m.keras" in str(error.value) or "m.h5" in str(error.value), place


@pytest.mark.parametrize("child", [False, True], ids=["in the root", "in a child node"])
def test_what_hides_in_a_saved_models_metadata_leaves_its_graph_only(child: bool, tmp_path: Path) -> None:
    assert peek(as_saved_model(tmp_path, model(), keras_layer("Dense", "dense", units=3))).untrusted == ""
    for place, (put, value) in HIDING.items():
        config = model()
        put(config, value)
        nodes = (model(), keras_layer("Dense", "dense", units=3), config) if child else (config,)
        facts = peek(as_saved_model(tmp_path, *nodes))
        assert facts.untrusted, f"accepted {place}"
        assert "only the SavedModel's graph is used" in facts.only_graph and facts.layers == (), place


OUTSIDE = (
    *("PyFunc", "EagerPyFunc", "ReadFile", "WriteFile", "MatchingFiles", "PrintV2", "MergeV2Checkpoints", "SaveV2"),
    *("TFRecordDatasetV2", "InitializeTableFromTextFileV2", "ImmutableConst", "XlaCallModule", "NobodysOp"),
)


def test_an_operation_that_reaches_out_of_the_graph_refuses_a_saved_model(tmp_path: Path) -> None:
    usual = ("VarHandleOp", "StatefulPartitionedCall", "MatMul", "SaveV2", "RestoreV2")
    assert peek(as_saved_model(tmp_path, ops=usual, functions=("Conv2D", "While"))).inputs == ((),)
    for op in OUTSIDE:
        saver = op in ("SaveV2", "MergeV2Checkpoints")
        places = [{"functions": (op,)}, {"ops": (op,)}]
        for place in places if not saver else []:
            with pytest.raises(InputError, match=f"runs operations that reach out of the graph .*: {op}"):
                peek(as_saved_model(tmp_path, **place))  # type: ignore[arg-type]
        path = as_saved_model(tmp_path, functions=(op,))
        saved = messages()["SavedModel"].FromString((path / "saved_model.pb").read_bytes())
        saved.meta_graphs[0].graph_def.node[0].attr["f"].func.name = f"call_{op}"
        (path / "saved_model.pb").write_bytes(saved.SerializeToString())
        with pytest.raises(InputError, match=f"reach out of the graph .*: {op}"):
            peek(path)
        assert peek(path, allow_unsafe=True).format == "saved_model"


def test_a_loss_of_the_users_own_is_left_out_and_does_not_matter(tmp_path: Path) -> None:
    config = model()
    for module in ("__main__", "builtins", "my_project.losses"):
        config["compile_config"] = {"loss": SYSTEM | {"module": module, "config": "focal"}}
        for write in (as_keras2, as_keras3, as_h5):
            assert peek(write(tmp_path, config)).class_name == "Functional"


def test_a_file_of_two_formats_is_refused(tmp_path: Path) -> None:
    archive, hdf5 = as_keras2(tmp_path, model()), as_h5(tmp_path, model())
    (tmp_path / "both.keras").write_bytes(hdf5.read_bytes() + archive.read_bytes())
    with pytest.raises(InputError, match="is an HDF5 file and a zip archive at once"):
        peek(tmp_path / "both.keras")


def test_weights_in_other_files_and_bombs_are_refused(tmp_path: Path) -> None:
    def answer(fill: Callable[[h5py.File], Any]) -> str:
        path = as_h5(tmp_path, model())
        with h5py.File(path, "a") as file:
            fill(file)
        with pytest.raises(InputError) as error:
            peek(path)
        return str(error.value)

    secret = [("/etc/passwd", 0, 4)]
    other = h5py.VirtualLayout((4,), "f4")
    other[:] = h5py.VirtualSource("other.h5", "w", (4,))
    assert "keeps weights in another file: 'w'" in answer(lambda f: f.create_dataset("w", (1,), "f4", external=secret))
    assert "keeps weights in another file: 'w'" in answer(lambda f: f.create_virtual_dataset("w", other))
    assert "has a link to another file" in answer(lambda f: f.__setitem__("w", h5py.ExternalLink("other.h5", "/w")))
    bomb = answer(lambda f: f.create_dataset("w", (1 << 20, 1 << 20), "f4", chunks=(64, 64), fillvalue=0))
    assert "unpacks to more than 256 MiB" in bomb


def test_the_attacks_are_real_and_run_only_when_allowed(tmp_path: Path) -> None:
    """A Keras 2 archive that calls os.system, and a SavedModel with bytecode in a child node (both once ran)."""
    keras = tf_keras()
    image = keras.Input((4,), name="image")
    built = keras.Model(image, keras.layers.Dense(2, name="dense")(keras.layers.Activation("relu", name="act")(image)))
    built.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    mark = tmp_path / "ran"
    # The registered name of an optimizer makes Keras 2 skip its own lists and import the module.
    call = [[["_CONSTANT_VALUE", -1, f"touch {mark}", {}]]]
    attack = SYSTEM | {"registered_name": "Custom>Adadelta", "name": "attack", "inbound_nodes": call}
    config["config"]["layers"].append(attack)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match=r"the function .* of module 'os' is not one of Keras 2"):
        load_source(tmp_path / "m.keras")
    assert not mark.exists()
    with pytest.raises(InputError, match="Keras cannot load it"):
        load_source(tmp_path / "m.keras", allow_unsafe=True)
    assert mark.exists(), "the attack is one"
    mark.unlink()

    built.save(tmp_path / "saved", save_format="tf")
    path = tmp_path / "saved/keras_metadata.pb"
    metadata = keras.protobuf.saved_metadata_pb2.SavedMetadata.FromString(path.read_bytes())
    code = f"__import__('os').system('touch {mark}') or x"
    attack = keras.layers.Lambda(eval(f"lambda x: {code}"), name="act").get_config()
    for node in metadata.nodes:
        facts = json.loads(node.metadata)
        if facts.get("name") == "act":
            node.metadata = json.dumps(facts | {"class_name": "Lambda", "config": attack})
    path.write_bytes(metadata.SerializeToString())
    mark.unlink(missing_ok=True)
    source = load_source(tmp_path / "saved")
    assert source.keras is None and "layer 'act' is a Lambda" in source.notes[0]
    assert source.predict is not None and not mark.exists()
    load_source(tmp_path / "saved", allow_unsafe=True)
    assert mark.exists(), "the attack is one"
