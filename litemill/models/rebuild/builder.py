"""Build the Keras model of a `.tflite`, op by op.

Values are numpy arrays where they are known (weights, shape arithmetic), and Keras tensors `[batch, …]` else. A tensor
whose leading axes the file merged with the batch (`[batch · steps, features]`) is kept unmerged as a `Merged`: dense
layers and activations work on the last axis anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from litemill.errors import first_line
from litemill.models.backend import tensorflow, tf_keras
from litemill.models.rebuild.folding import BATCH, fold, folds
from litemill.models.rebuild.graph import FileGraph, Op, Refused
from litemill.models.rebuild.table import TABLE

Call = Callable[[Any], Any]
"""Takes a Keras tensor and gives one."""
LIBRARY_ERRORS = (ValueError, TypeError, AttributeError, KeyError, IndexError, NotImplementedError, ZeroDivisionError)
"""What Keras and numpy raise of something that they do not expect."""


class Merged(NamedTuple):
    """A Keras tensor whose counterpart in the file has its axes but the last merged with the batch."""

    tensor: Any


class Norm(NamedTuple):
    """A BatchNormalization that is put back: what it must compute at inference, and the layer whose kernel it scales.

    Attributes:
        layer: The BatchNormalization.
        scale: `[channels]`: what its input is multiplied with.
        offset: `[channels]`: what is added then.
        before: The convolution before it, of which it takes over the bias; None where there is none.
    """

    layer: Any
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    before: Any | None


class Builder:
    """One file on its way to a Keras model.

    Args:
        graph: The file's main graph.
        inputs: Names for the inputs, in the file's order.
        outputs: Names for the outputs, where there are several.
        batch_norm: Whether convolutions with a bias get a BatchNormalization behind them in place of it.
    """

    def __init__(
        self, graph: FileGraph, inputs: Sequence[str], outputs: Sequence[str] = (), *, batch_norm: bool = False
    ) -> None:
        self.graph, self.input_names, self.output_names = graph, inputs, outputs
        self.tf, self.layers, self.keras = tensorflow(), tf_keras().layers, tf_keras()
        self.values: dict[int, Any] = {}
        self.done: set[int] = set()
        self.shared: dict[Any, Any] = {}
        self.restores = batch_norm
        self.norms: list[Norm] = []
        self._weights: list[tuple[Any, list[Any]]] = []

    def build(self) -> Any:
        """The Keras model.

        Raises:
            Refused: An op cannot be rebuilt, by type and place.
        """
        inputs = [self._input(index, name) for index, name in zip(self.graph.inputs, self.input_names, strict=True)]
        for op in self.graph.ops:
            if op.at in self.done:
                continue
            try:
                self._translate(op)
                self.check(op)
            except Refused as error:
                raise Refused(f"{self.graph.place(op)} {error}") from None
            except (*LIBRARY_ERRORS, self.tf.errors.OpError) as error:
                what = f"{self.graph.place(op)} cannot be rebuilt: {type(error).__name__}: {first_line(error)}"
                raise Refused(what) from error
        outputs = [self.value(index) for index in self.graph.outputs]
        if any(isinstance(output, Merged | np.ndarray) for output in outputs):
            raise Refused("an output has its batch merged with another axis, or is constant")
        self._name_outputs(outputs)
        try:
            model = self.keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0], name="rebuilt")
        except LIBRARY_ERRORS as error:
            raise Refused(f"its layers make no model: {first_line(error)}") from error
        for layer, weights in self._weights:
            layer.set_weights(weights)
        return model

    def _input(self, index: int, name: str) -> Any:
        tensor = self.layers.Input(self.graph.shape(index)[1:], name=name, dtype=self.graph.dtype(index))
        self.values[index] = tensor
        return tensor

    def _name_outputs(self, outputs: list[Any]) -> None:
        """Give the layers that make several outputs the names of the outputs, by which Keras calls them.

        Raises:
            Refused: One layer makes two of them, or is an input.
        """
        makers = [output.node.layer for output in outputs]
        if len(outputs) == 1:
            return
        own = [layer for layer in makers if layer.name not in self.input_names]
        if len({id(layer) for layer in own}) < len(makers):
            raise Refused("two outputs are made by one layer, or one is an input")
        for layer, name in zip(makers, self.output_names, strict=True):
            layer._name = name  # Keras has no public way, and names of outputs are those of their layers

    def _translate(self, op: Op) -> None:
        if op.name == "SHAPE":
            self.values[op.outputs[0]] = self._shape_value(op.inputs[0])
        elif folds(op) and all(self.known(index) for index in op.inputs):
            self.values[op.outputs[0]] = fold(op, [self.value(index) for index in op.inputs])
        elif op.name in TABLE:
            TABLE[op.name](self, op)
        else:
            raise Refused("has no Keras layer that converts back into it")

    def check(self, op: Op) -> None:
        """Hold every tensor made to the shape that the file says it has.

        Raises:
            Refused: It has another.
        """
        for index in op.outputs:
            made = self.values.get(index)
            if made is None or isinstance(made, np.ndarray | Merged):
                continue
            if list(made.shape)[1:] != self.graph.shape(index)[1:]:
                raise Refused(f"would have the shape {list(made.shape)}, the file has {self.graph.shape(index)}")

    def known(self, index: int) -> bool:
        """Whether a tensor's value is known before the model runs."""
        found = self.values.get(index)
        return self.graph.is_constant(index) if found is None else isinstance(found, np.ndarray)

    def value(self, index: int) -> Any:
        """A constant as a numpy array, or the Keras tensor made for it; None for an input that is left out."""
        if index < 0:
            return None
        if index not in self.values:
            self.values[index] = self.graph.constant(index)
        return self.values[index]

    def constant(self, op: Op, position: int) -> Any:
        """An input that must be known; None where it is left out.

        Raises:
            Refused: It is computed.
        """
        value = self.value(op.inputs[position]) if position < len(op.inputs) else None
        if value is not None and not isinstance(value, np.ndarray):
            raise Refused(f"takes input {position} from another op, not from the file")
        return value

    def tensor(self, op: Op, position: int = 0) -> Any:
        """An input that must be a Keras tensor with a batch of its own.

        Raises:
            Refused: It is known, left out, or merged with the batch.
        """
        value = self.value(op.inputs[position])
        if isinstance(value, Merged):
            raise Refused("takes a tensor whose batch is merged with another axis")
        if isinstance(value, np.ndarray) or value is None:
            raise Refused(f"has a constant as input {position}")
        return value

    def put(self, op: Op, made: Any, position: int = 0) -> None:
        """Keep an op's output, its fused activation as a layer of its own: TFMOT looks for Conv → ReLU."""
        if op.fused != "NONE":
            made = on_last(made, lambda x: self.activation(op.fused, x, f"{op.layer_name}_{op.fused.lower()}"))
        self.values[op.outputs[position]] = made

    def activation(self, kind: str, x: Any, name: str) -> Any:
        """A layer for an activation as the file calls it.

        Raises:
            Refused: It has no counterpart.
        """
        layers = self.layers
        if kind == "RELU":
            return layers.ReLU(name=name)(x)
        if kind in ("RELU6", "RELU_0_TO_1"):
            return layers.ReLU(6.0 if kind == "RELU6" else 1.0, name=name)(x)
        if kind == "RELU_N1_TO_1":
            return self.tf.clip_by_value(x, -1.0, 1.0)
        if kind == "ELU":
            return layers.ELU(name=name)(x)  # TFMOT refuses a model with Activation("elu"), another layer by its name
        known = {"TANH": "tanh", "LOGISTIC": "sigmoid", "SOFTMAX": "softmax", "SWISH": "swish"}
        if kind not in known:
            raise Refused(f"has the activation {kind}, which has no counterpart")
        return layers.Activation(known[kind], name=name)(x)

    def weigh(self, layer: Any, weights: Sequence[Any]) -> None:
        """Give a layer its weights once the model is built."""
        self._weights.append((layer, [np.asarray(weight, np.float32) for weight in weights if weight is not None]))

    def weighted(self, op: Op, make: Callable[..., Any], x: Any, key: Any, weights: tuple[Any, Any]) -> Any:
        """Call a layer with kernel and bias; the same ones with the same settings are one shared layer.

        Args:
            op: Whose layer it is; its inputs tell whether the weights are shared.
            make: Makes the layer, given `name` and `use_bias`.
            x: Its input.
            key: The settings.
            weights: Kernel in Keras's layout, and bias or None.
        """
        identity = (op.name, tuple(index for index in op.inputs if self.known(index)), key)
        if identity not in self.shared:
            layer = make(name=op.layer_name, use_bias=weights[1] is not None)
            self.shared[identity] = layer
            self.weigh(layer, weights)
        return self.shared[identity](x)

    def _shape_value(self, index: int) -> NDArray[np.int64]:
        value = self.value(index)
        if isinstance(value, np.ndarray):
            return np.array(value.shape, np.int64)
        sizes = [size or BATCH for size in (value.tensor if isinstance(value, Merged) else value).shape]
        merged = [int(np.prod(sizes[:-1])), sizes[-1]]
        return np.array(merged if isinstance(value, Merged) else sizes, np.int64)


def on_last(value: Any, call: Call) -> Any:
    """Call something that works on the last axis or element by element, whether the other axes are merged or not."""
    return Merged(call(value.tensor)) if isinstance(value, Merged) else call(value)
