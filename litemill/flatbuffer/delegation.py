"""Which ops an accelerator takes: asked of XNNPACK on this host, predicted by rules for others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from litemill.errors import InputError, first_line
from litemill.evidence.graph import Delegation
from litemill.flatbuffer.accelerators import ACCELERATORS, Accelerator
from litemill.flatbuffer.macs import op_macs
from litemill.flatbuffer.reader import DTYPE_NAMES, elements, ints, op_name

DELEGATE = "DELEGATE"


def predict_delegation(model: Any) -> dict[str, Delegation]:
    """What each accelerator of the rules would take of the main graph.

    Args:
        model: A `schema.ModelT`.

    Returns:
        By accelerator: the fraction of ops and of multiply-accumulates taken, and why each other op is left out.
    """
    graph = model.subgraphs[0]
    return {name: _predict(model, graph, rules) for name, rules in ACCELERATORS.items()}


def _predict(model: Any, graph: Any, rules: Accelerator) -> Delegation:
    left: dict[str, str] = {}
    ops = graph.operators or []
    costs = [op_macs(model, graph, op) for op in ops]
    taken = taken_macs = 0
    cut = False
    for position, (op, cost) in enumerate(zip(ops, costs, strict=True)):
        reason = why_left(op_name(model, op), [graph.tensors[index] for index in _tensors(op)], rules)
        if cut and not reason:
            reason = "behind an op that is left out"
        cut = rules.one_partition and bool(reason) and taken > 0
        if reason:
            left[f"{position} {op_name(model, op)}"] = reason
        else:
            taken, taken_macs = taken + 1, taken_macs + cost
    total = sum(costs)
    return Delegation(
        kind="predicted",
        source=rules.source,
        ops_fraction=taken / len(ops) if ops else 0.0,
        macs_fraction=taken_macs / total if total else (taken / len(ops) if ops else 0.0),
        left=left,
    )


def why_left(op: str, tensors: list[Any], rules: Accelerator) -> str:
    """Why an accelerator leaves an op to the CPU; nothing where it takes it."""
    if op not in rules.ops:
        return "op not supported"
    dtypes = {DTYPE_NAMES.get(tensor.type, "") for tensor in tensors if elements(tensor) > 1}
    wrong = sorted(dtypes - rules.dtypes)
    if wrong:
        return f"{', '.join(wrong)} not supported"
    if any(len(ints(tensor.shape)) > rules.max_rank for tensor in tensors):
        return f"more than {rules.max_rank} dimensions"
    if rules.static and any(size < 0 for tensor in tensors for size in ints(tensor.shapeSignature)):
        return "a dimension is free"
    return ""


def _tensors(op: Any) -> list[int]:
    return [index for index in (*ints(op.inputs), *ints(op.outputs)) if index >= 0]


def ask_xnnpack(path: Path) -> Delegation:
    """What XNNPACK takes on this host: opens the file in LiteRT, so do this only in a process that may crash.

    Raises:
        RuntimeError: LiteRT cannot open the file.
        ValueError: The same.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    before = list(enumerate(str(op["op_name"]) for op in interpreter._get_ops_details()))
    interpreter.allocate_tensors()
    after = interpreter._get_ops_details()
    # Delegated ops stay in the list, and the delegate's nodes come after them; what it made is its own.
    made = {int(index) for op in after if op["op_name"] == DELEGATE for index in op["outputs"]}
    read = {int(index) for op in after if op["op_name"] == DELEGATE for index in op["inputs"]}
    partitions = sum(op["op_name"] == DELEGATE for op in after)
    left = _left_behind([op for op in after if op["op_name"] != DELEGATE], made, read) if partitions else before
    return Delegation(
        kind="observed",
        source="LiteRT on this host",
        ops_fraction=1 - len(left) / len(before) if before else 0.0,
        partitions=partitions,
        left={f"{position} {name}": "left by the delegate" for position, name in left},
    )


def xnnpack_facts(path: str) -> dict[str, Any]:
    """As `ask_xnnpack`, as plain data and with a refusal as ours: for `litemill.process.contained`.

    Raises:
        InputError: LiteRT cannot run the file.
    """
    try:
        return ask_xnnpack(Path(path)).model_dump(mode="json")
    except (RuntimeError, ValueError) as error:
        raise InputError(f"LiteRT cannot run it: {first_line(error)}", where=path) from None


def _left_behind(ops: list[Any], made: set[int], read: set[int]) -> list[tuple[int, str]]:
    """Position and type of ops that lie on no path from what a delegate reads to what it makes."""
    wanted, inside = set(made), set()
    for position in reversed(range(len(ops))):
        outputs = {int(index) for index in ops[position]["outputs"]}
        if outputs & wanted:
            inside.add(position)
            wanted |= {int(index) for index in ops[position]["inputs"]} - read
    return [(position, str(op["op_name"])) for position, op in enumerate(ops) if position not in inside]
