"""Small `.tflite` files with every op that can be rebuilt, converted from Keras layers and functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from litemill.flatbuffer import read_graph, read_model
from litemill.flatbuffer.reader import op_name, schema
from litemill.models.backend import tensorflow, tf_keras
from litemill.slim.sharing import pack_shared


def to_tflite(
    call: Any,
    inputs: list[tuple[tuple[int, ...], str]],
    path: Path,
    *,
    variables: list[Any] | None = None,
    batch: int | None = 1,
) -> Path:
    """Convert a function or a model with a batch of 1, as an app's file has it, or with a free one."""
    tf = tensorflow()
    specs = [tf.TensorSpec([batch, *shape], dtype) for shape, dtype in inputs]
    function = tf.function(lambda *x: call(x[0] if len(x) == 1 else list(x))).get_concrete_function(*specs)
    owner = tf.Module()
    owner.kept = variables or []  # a whole Keras model would be traced anew, layer by layer
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], owner)
    path.write_bytes(converter.convert())
    return path


def model_to_tflite(model: Any, path: Path, batch: int | None = 1) -> Path:
    """Convert a Keras model of any number of inputs and outputs."""
    inputs = [(tuple(tensor.shape[1:]), tensor.dtype.name) for tensor in model.inputs]
    return to_tflite(lambda x: model(x, training=False), inputs, path, variables=model.variables, batch=batch)


def relabelled(source: Path, old: str, new: str, path: Path, **changed: Any) -> Path:
    """A copy of a file in which the only op of a type is one that today's converter does not write.

    Args:
        source: The file.
        old: Type of the op.
        new: What it becomes.
        path: Of the copy.
        changed: `options` of the schema, `inputs` to keep, the int32 `value` of its second one, its `version`.
    """
    model = read_model(source)
    (op,) = (op for op in model.subgraphs[0].operators if op_name(model, op) == old)
    code, number = model.operatorCodes[op.opcodeIndex], getattr(schema().BuiltinOperator, new)
    code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), changed.get("version", 1)
    options = changed.get("options")
    kind = type(options).__name__.removesuffix("T") if options is not None else "NONE"
    op.builtinOptions, op.builtinOptionsType = options, getattr(schema().BuiltinOptions, kind)
    op.inputs = op.inputs[: changed.get("inputs", len(op.inputs))]
    if "value" in changed:
        buffer = model.buffers[model.subgraphs[0].tensors[op.inputs[1]].buffer]
        buffer.data = np.frombuffer(np.array(changed["value"], np.int32).tobytes(), np.uint8)
    path.write_bytes(pack_shared(model))
    return path


def older(folder: Path) -> dict[str, Path]:
    """By op a file of what older converters, or other ones, write."""
    tf = tensorflow()
    series = {
        "ABS": (tf.abs, (4, 3)),
        "RESHAPE": (lambda x: tf.reshape(x, [1, 4, 3]), (4, 1, 3)),
        "TILE": (lambda x: tf.tile(x, [1, 1, 3]), (4, 1)),
        "SELECT": (lambda x: tf.where(x > 0.5, x, tf.exp(x)), (4, 3)),
    }
    bases = {
        name: to_tflite(call, [(shape, "float32")], folder / f"{name}.tflite") for name, (call, shape) in series.items()
    }
    chosen = next(op for op in read_graph(bases["SELECT"]).ops if op.startswith("SELECT"))
    other = "SELECT" if chosen == "SELECT_V2" else "SELECT_V2"
    changes: dict[str, tuple[str, str, dict[str, Any]]] = {
        **{name: ("ABS", "ABS", {}) for name in ("SIGN", "RELU_N1_TO_1", "RELU_0_TO_1")},
        "L2_NORMALIZATION": ("ABS", "ABS", {"options": schema().L2NormOptionsT()}),
        "SQUEEZE": ("RESHAPE", "RESHAPE", {"options": schema().SqueezeOptionsT(squeezeDims=[2]), "inputs": 1}),
        "BROADCAST_TO": ("TILE", "TILE", {"value": [1, 4, 3], "version": 2}),
        other: ("SELECT", chosen, {}),
    }
    return {
        new: relabelled(bases[base], old, new, folder / f"{new}.tflite", **changed)
        for new, (base, old, changed) in changes.items()
    }


def trained_a_little(model: Any) -> Any:
    """Give BatchNormalization uneven statistics and biases other values than zero, as training leaves them."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            gamma, beta, mean, variance = (np.shape(weight)[0] for weight in layer.get_weights())
            layer.set_weights(
                [
                    rng.uniform(0.5, 1.5, gamma),
                    rng.normal(0, 0.3, beta),
                    rng.normal(0, 0.3, mean),
                    rng.uniform(0.5, 2.0, variance),
                ]
            )
        elif type(layer).__name__ in ("PReLU", "LayerNormalization") or getattr(layer, "use_bias", False):
            weights = layer.get_weights()
            layer.set_weights([weight + rng.normal(0, 0.1, weight.shape) for weight in weights])
    return model


def convolutional() -> Any:
    """Convolutions of every kind, BatchNormalization before and behind them, activations, pools, shortcuts."""
    k = tf_keras()
    k.utils.set_random_seed(0)
    n = k.layers
    inputs = n.Input((16, 16, 3))
    x = n.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    x = n.ReLU()(n.BatchNormalization()(n.Conv2D(8, 3, padding="same", use_bias=False)(x)))
    shortcut = x
    x = n.ReLU(6.0)(n.BatchNormalization()(n.DepthwiseConv2D(3, padding="same")(x)))
    x = n.Add()([shortcut, n.BatchNormalization()(n.Conv2D(8, 1)(x))])
    x = n.ReLU()(n.BatchNormalization()(x))  # in front of the next one: stays MUL and ADD
    x = n.Conv2D(8, 3, groups=2, padding="same", activation="swish")(x)
    x = n.LeakyReLU(0.2)(n.Conv2D(8, 3, dilation_rate=2, padding="same")(x))
    x = n.ELU()(n.DepthwiseConv2D(3, dilation_rate=2)(n.ZeroPadding2D(((1, 0), (0, 1)))(x)))
    x = n.PReLU(shared_axes=[1, 2])(n.Conv2D(8, (3, 1), strides=2)(x))
    x = n.Activation("tanh")(n.Conv2DTranspose(6, 2, strides=2)(x))
    x = n.UpSampling2D(2)(n.MaxPooling2D()(x))
    x = n.UpSampling2D(2, interpolation="bilinear")(n.AveragePooling2D(2)(x))
    x = n.Cropping2D(((1, 1), (0, 2)))(x)
    gate = n.GlobalAveragePooling2D(keepdims=True)(x)
    gate = n.Conv2D(6, 1, activation="sigmoid")(n.Conv2D(4, 1, activation="relu")(gate))
    x = n.Multiply()([x, gate])
    scaled = n.ReLU(6.0)(n.Rescaling(1.0, offset=3.0)(x))
    x = n.Multiply()([x, n.Rescaling(1 / 6)(scaled)])  # hard swish
    parts = [n.Maximum()([x, shortcut_of(n, x)]), n.Minimum()([x, shortcut_of(n, x)])]
    x = n.Concatenate()([n.Subtract()(parts), *parts])
    ends = [n.GlobalAveragePooling2D()(x), n.GlobalMaxPooling2D()(x), n.Flatten()(n.MaxPooling2D(2)(x))]
    x = n.Dense(16, activation="relu")(n.Concatenate()(ends))
    return trained_a_little(k.Model(inputs, n.Dense(5, activation="softmax")(x)))


def shortcut_of(n: Any, x: Any) -> Any:
    """A 1×1 convolution of the same size."""
    return n.Conv2D(x.shape[-1], 1)(x)


def transformer() -> Any:
    """Token ids, positions, attention, LayerNormalization, GELU, and a dilated causal convolution over time."""
    k = tf_keras()
    k.utils.set_random_seed(1)
    n = k.layers
    ids = n.Input((12,), dtype="int32")
    x = n.Embedding(30, 16)(ids)
    x = x + np.linspace(-1, 1, 12 * 16).reshape(1, 12, 16).astype(np.float32)
    x = n.LayerNormalization(epsilon=1e-3)(n.Add()([x, n.MultiHeadAttention(2, 8)(x, x)]))
    y = n.Dense(16)(n.Dense(24, activation="gelu")(x))
    x = n.LayerNormalization(epsilon=1e-3)(n.Add()([x, y]))
    x = n.Conv1D(8, 3, dilation_rate=2, padding="causal", activation="relu")(x)
    return trained_a_little(k.Model(ids, n.Dense(4)(n.GlobalAveragePooling1D()(x))))


def channels_first() -> Any:
    """What a network in PyTorch's layout becomes: transposes around convolutions of channels-last images."""
    k = tf_keras()
    k.utils.set_random_seed(2)
    n = k.layers
    inputs = n.Input((3, 12, 12))
    x = n.Permute((2, 3, 1))(inputs)
    x = n.ReLU()(n.BatchNormalization()(n.Conv2D(8, 3, padding="same")(x)))
    x = n.Permute((3, 1, 2))(n.MaxPooling2D()(x))
    x = n.Permute((2, 3, 1))(n.ReLU()(x))
    x = n.ReLU()(n.BatchNormalization()(n.Conv2D(12, 3, strides=2)(x)))
    x = n.GlobalAveragePooling2D(data_format="channels_first")(n.Permute((3, 1, 2))(x))
    return trained_a_little(k.Model(inputs, n.Dense(4)(x)))


def pixels() -> Any:
    """Pixels as bytes, scaled by channel inside the model."""
    k = tf_keras()
    k.utils.set_random_seed(6)
    n = k.layers
    inputs = n.Input((8, 8, 3), dtype="uint8")
    x = n.Rescaling([0.01, 0.02, 0.03], offset=[-1.0, 0.5, 0.0])(inputs)
    x = n.ReLU()(n.BatchNormalization()(n.Conv2D(6, 3)(x)))
    return trained_a_little(k.Model(inputs, n.Dense(4)(n.GlobalAveragePooling2D()(x))))


def volumes() -> Any:
    """Convolutions in three dimensions."""
    k = tf_keras()
    k.utils.set_random_seed(7)
    n = k.layers
    inputs = n.Input((6, 6, 6, 2))
    x = n.Conv3D(4, 3, strides=(1, 2, 2), padding="same", activation="relu")(inputs)
    x = n.Conv3DTranspose(3, 2, strides=2)(x)
    return trained_a_little(k.Model(inputs, n.Dense(4)(n.GlobalAveragePooling3D()(x))))


def several_ends() -> Any:
    """Two inputs and two outputs, whose names a trained variant must keep."""
    k = tf_keras()
    k.utils.set_random_seed(3)
    n = k.layers
    context, picture = n.Input((3,), name="context"), n.Input((8, 8, 1), name="picture")
    seen = n.GlobalAveragePooling2D()(n.Conv2D(8, 3, activation="relu")(picture))
    both = n.Dense(16, activation="relu")(n.Concatenate()([seen, n.Dense(8, activation="relu")(context)]))
    outputs = [n.Dense(2, name="place")(both), n.Dense(4, activation="softmax", name="scores")(both)]
    return trained_a_little(k.Model([context, picture], outputs))


def free_batch(x: Any) -> Any:
    """What a converter leaves of shapes that it does not know, of series `[batch, 6, 4]`."""
    tf = tensorflow()
    highest = tf.squeeze(tf.reduce_max(x, 2, keepdims=True), [2])
    rows = tf.reshape(x, [tf.shape(x)[0], 24])
    return tf.concat([rows, highest, tf.reduce_mean(tf.expand_dims(x, 2), [1, 2])], 1)


MODELS: dict[str, Callable[[], Any]] = {
    "convolutional": convolutional,
    "transformer": transformer,
    "channels_first": channels_first,
    "pixels": pixels,
    "volumes": volumes,
}


def functions(x: Any) -> Any:
    """What no layer stands for, of images `[1, 8, 8, 4]` around 1.5."""
    tf = tensorflow()
    m, rows = tf.math, [tf.reduce_sum(x, [1, 2]), tf.reduce_min(x, [1, 2]), tf.reduce_prod(x[:, :2, :2], [1, 2])]
    one = m.abs(m.sin(x)) + m.cos(x) - m.exp(-x) * m.log(x) + m.sqrt(x) * m.rsqrt(x + 1.0) - m.square(x)
    one += m.floor(x) + m.ceil(x * 2.0) + m.round(x * 3.0) + m.sign(x - 1.5) + m.pow(x, 1.5) - m.negative(x) / (x + 7.0)
    one += m.squared_difference(x, one) + m.floordiv(one, 2.0) + m.floormod(one, 1.7)
    higher = m.logical_not(m.logical_and(m.greater(x, 1.4), m.greater_equal(x, one)))
    other = m.logical_or(m.less(x, 1.2), m.logical_or(m.less_equal(x, one), m.not_equal(x, one)))
    one = tf.where(m.logical_or(higher, m.equal(x, one)), one, x) + tf.cast(other, tf.float32)
    one = tf.where(x[:, :1] > 1.5, one, 2.0 * x) + tf.nn.relu6(m.sin(x))
    one = tf.clip_by_value(one, -1.0, 1.0) + tf.clip_by_value(x, 0.0, 1.0) + tf.nn.l2_normalize(x, -1)
    one = tf.nn.depth_to_space(tf.nn.space_to_depth(one, 2), 2) + tf.nn.log_softmax(x)
    left, right = tf.split(one, 2, axis=3)
    first, second = tf.split(one, [1, 3], axis=3)
    one = tf.concat([left * right, second, first], 3)
    one = tf.pad(one, [[0, 0], [1, 1], [0, 0], [0, 1]], constant_values=0.5)
    one = tf.pad(tf.pad(one, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT"), [[0, 0], [0, 0], [0, 0], [1, 0]])
    one = tf.gather(tf.slice(one, [0, 1, 2, 0], [-1, 5, 6, 6]), [2, 0, 1], axis=3)
    one = tf.compat.v1.image.resize_bilinear(one, [7, 9], align_corners=True)
    one = tf.compat.v1.image.resize_nearest_neighbor(one, [5, 5])[:, ::2, 1:]
    pieces = tf.unstack(one, axis=1)
    one = tf.stack([tf.tile(pieces[0], [1, 1, 2]), tf.tile(pieces[1], [1, 1, 2])], axis=1)
    one = tf.matmul(one, one, transpose_b=True) + tf.broadcast_to(one[:, :, :1, :1], [1, 2, 4, 4])
    return tf.concat([tf.reshape(one, [1, 32]), *rows], 1)
