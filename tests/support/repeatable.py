"""Check that a training step adds in a fixed order, so that it repeats bit for bit."""

from __future__ import annotations

from collections.abc import Callable

from tensorflow.python.eager import context


def wide_sums(step: Callable[..., object], *arguments: object) -> list[str]:
    """Calls a `tf.function` and returns the sums of three or more tensors in its optimized graph.

    AddN adds into whichever input's buffer is free first: with three or more, the order varies.
    `models.layers.fan_out` avoids it.
    """
    context.context().enable_graph_collection()
    try:
        step(*arguments)
        metadata = context.context().export_run_metadata()
    finally:
        context.context().disable_graph_collection()
    nodes = [
        node
        for graphs in metadata.function_graphs
        for graph in [graphs.post_optimization_graph]
        for node in [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    ]
    assert len(nodes) > 100
    return [node.name for node in nodes if "AddN" in node.op and node.attr["N"].i > 2]
