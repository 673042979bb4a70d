"""What a SavedModel's graph does beyond computing: operations that touch files or run Python, found in all of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from litemill.models.known import RESTORES, SAVES, operations


def unknown_operations(saved: Any) -> list[str]:
    """Types of the operations that are not known to stay within the graph.

    Those that save and restore variables are in every SavedModel. They are let be where only its saver reaches them,
    which `litemill` never runs; what loading runs of the saver may restore and nothing else.

    Args:
        saved: The `SavedModel` message.
    """
    found: set[str] = set()
    for meta in saved.meta_graphs:
        graph = _Graph(meta)
        found |= graph.operations() - operations() - SAVES - RESTORES
        found |= graph.reached(graph.roots()) - operations()
        found |= graph.reached(graph.restoring()) - operations() - RESTORES
    return sorted(found)


class _Graph:
    """The nodes of a graph and its functions, by name."""

    def __init__(self, meta: Any) -> None:
        self.meta = meta
        self.nodes = {node.name: node for node in meta.graph_def.node}
        self.functions = {function.signature.name: function.node_def for function in meta.graph_def.library.function}

    def operations(self) -> set[str]:
        """Types of all operations, functions of the library aside."""
        everything = [*self.meta.graph_def.node, *(node for body in self._bodies() for node in body)]
        return {node.op for node in everything} - set(self.functions)

    def _bodies(self) -> list[Any]:
        return [function.node_def for function in self.meta.graph_def.library.function]

    def roots(self) -> set[str]:
        """Where serving and initializing start: nodes of the graph, and functions that objects keep."""
        found = {_node(tensor.name) for signature in self.meta.signature_def.values() for tensor in _tensors(signature)}
        for collection in self.meta.collection_def.values():
            found |= {_node(name) for name in collection.node_list.value}
        return found | set(self.meta.object_graph_def.concrete_functions)

    def restoring(self) -> set[str]:
        """Where loading starts the saver."""
        return {_node(self.meta.saver_def.restore_op_name)} if self.meta.HasField("saver_def") else set()

    def reached(self, names: Iterable[str]) -> set[str]:
        """Types of the operations that are reached from nodes and functions."""
        waiting, seen, found = list(names), set(), set()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            for node in [*([self.nodes[name]] if name in self.nodes else []), *self.functions.get(name, [])]:
                found |= {node.op} - set(self.functions)
                waiting += [*_called(node), *({node.op} & set(self.functions))]
            if name in self.nodes:
                waiting += [_node(source) for source in self.nodes[name].input]
        return found


def _tensors(signature: Any) -> Iterator[Any]:
    yield from signature.outputs.values()
    yield from signature.inputs.values()


def _called(node: Any) -> Iterator[str]:
    """Names of the functions that a node calls."""
    for value in node.attr.values():
        yield from (function.name for function in (value.func, *value.list.func) if function.name)


def _node(tensor: str) -> str:
    """Name of the node that a tensor or a control input comes from."""
    return re.sub(r":\d+$", "", tensor.removeprefix("^"))
