"""The one line of an exception that a user reads says what happened, not which heading a library writes above it."""

from __future__ import annotations

import pytest

from litemill.errors import LONGEST, first_line

GRAPH = """Graph execution error:

Detected at node model/embedding/embedding_lookup defined at (most recent call last):
<stack traces unavailable>
indices[0,3] = -1 is not in [0, 2000)
\t [[{{node model/embedding/embedding_lookup}}]] [Op:__inference_predict_function_1123]"""
LAYER = """Exception encountered when calling layer "tf.math.add" (type TFOpLambda).

Could not build a TypeSpec for KerasTensor(type_spec=TensorSpec(shape=(None, 12))

Call arguments received by layer "tf.math.add" (type TFOpLambda):
  \u2022 x=tf.Tensor(shape=(None, 12), dtype=float32)"""
CODE = """in user code:

    File "/usr/lib/python3/loop.py", line 203, in run  *
        outputs = criterion.judged(model(batch, training=True))
    File "/usr/lib/python3/traceback_utils.py", line 70, in error_handler  **
        raise e.with_traceback(filtered_tb) from None

    ValueError: Input 0 of layer "dense" is incompatible with the layer: expected axis -1 to have value 8"""
COLOURED = """Exception encountered when calling Functional.call().

\x1b[1mInvalid input shape for input Tensor("data:0", shape=(1, 3))\x1b[0m

Arguments received by Functional.call():"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GRAPH, "indices[0,3] = -1 is not in [0, 2000)"),
        (LAYER, "layer tf.math.add (TFOpLambda): Could not build a TypeSpec for KerasTensor"),
        (CODE, 'ValueError: Input 0 of layer "dense" is incompatible'),
        (COLOURED, 'Invalid input shape for input Tensor("data:0"'),
        ("-----------\n=====\nthe disk is full\nmore", "the disk is full"),
        (
            "{{function_node __wrapped__AddV2_device_/cpu:0}} Incompatible shapes: [3] vs. [4] [Op:AddV2]",
            "Incompatible",
        ),
        ("one line", "one line"),
    ],
)
def test_the_line_that_says_what_happened_is_found_below_the_headings_of_libraries(text: str, expected: str) -> None:
    assert first_line(ValueError(text)).startswith(expected)
    assert "[Op:" not in first_line(text)
    assert "\x1b" not in first_line(text)


def test_an_exception_without_words_is_called_by_its_type_and_a_long_line_is_cut() -> None:
    assert first_line(MemoryError()) == "MemoryError"
    assert first_line(RuntimeError("-----\n\n====")) == "RuntimeError"
    assert len(first_line("x" * 10_000)) == LONGEST
