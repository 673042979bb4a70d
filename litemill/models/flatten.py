"""Take nested models apart: train-aware steps choose and wrap layers, and TFMOT refuses a model within a model."""

from __future__ import annotations

from typing import Any

from litemill.models.backend import tensorflow, tf_keras


def flatten(model: Any) -> tuple[Any, list[str]]:
    """The same network with the layers of nested models in its own graph, however deep they were.

    A layer keeps its name; where two would have the same, the inner one gets the nested model's in front.

    Args:
        model: A tf_keras model. One without nested models, and a subclassed one, is given back as it is; so is one
            with several outputs, of which one would lose its name.

    Returns:
        The model, and the names of the nested models that were taken apart; none where nothing was done.
    """
    nested = [layer.name for layer in model.layers if _is_graph(layer)] if _is_graph(model) else []
    if not nested:
        return model, []
    keras = tf_keras()
    inputs = [keras.Input(batch_shape=end.shape, dtype=end.dtype, name=end.node.layer.name) for end in model.inputs]
    copies = _Copies({layer.name for layer in model.layers if not _is_graph(layer)})
    outputs = copies.call(model, inputs, "")
    flat = keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0], name=model.name)
    if len(outputs) > 1 and flat.output_names != model.output_names:
        return model, []
    copies.fill()
    return flat, nested


def _is_graph(layer: Any) -> bool:
    """Whether a layer is a model whose layers are known: a functional or a built sequential one."""
    return isinstance(layer, tf_keras().Model) and bool(getattr(layer, "_is_graph_network", False))


class _Copies:
    """Copies of layers, one for each however often it is called."""

    def __init__(self, taken: set[str]) -> None:
        self.taken = taken
        self.made: dict[int, tuple[Any, Any]] = {}

    def call(self, model: Any, inputs: list[Any], prefix: str) -> list[Any]:
        """Repeat a model's calls on other tensors; its outputs for them."""
        nest = tensorflow().nest
        values = {id(old): new for old, new in zip(model.inputs, inputs, strict=True)}

        def here(tensor: Any) -> Any:
            return values.get(id(tensor), tensor)

        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                if node.is_input:
                    continue
                args, options = nest.map_structure(here, (node.call_args, node.call_kwargs))
                if _is_graph(node.layer):
                    found = self.call(node.layer, nest.flatten(args), f"{prefix}{node.layer.name}_")
                else:
                    found = nest.flatten(self._copy(node.layer, prefix)(*args, **options))
                values |= {id(old): new for old, new in zip(nest.flatten(node.outputs), found, strict=True)}
        return [values[id(output)] for output in model.outputs]

    def fill(self) -> None:
        """Give the copies the weights of their originals."""
        for original, copy in self.made.values():
            copy.set_weights(original.get_weights())

    def _copy(self, layer: Any, prefix: str) -> Any:
        if id(layer) not in self.made:
            config = layer.get_config()
            if prefix:
                config["name"] = layer.name if layer.name not in self.taken else f"{prefix}{layer.name}"
                self.taken.add(config["name"])
            self.made[id(layer)] = (layer, type(layer).from_config(config))
        return self.made[id(layer)][1]
