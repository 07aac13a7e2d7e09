"""Steps that dlkit computes in one pass: a product and the activation behind it; batch norm, a residual and a ReLU.

    Conv ─► Relu            becomes  Conv, activation relu
    BatchNormalization ─► Add(·, residual) ─► Relu      becomes  BatchNormalization, residual, activation relu

Only where nothing else reads the values in between. The results are the same; the values never leave the cache.
"""

from __future__ import annotations

from dataclasses import replace

from dlkit.onnx.graph import Graph, Step

ACTIVATIONS = {"Relu": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid"}
FUSED = {"Conv": tuple(ACTIVATIONS), "Gemm": tuple(ACTIVATIONS), "BatchNormalization": ("Relu",)}


def fused(graph: Graph) -> Graph:
    """The graph with such steps joined; the joined step stands where the last of them stood."""
    reads: dict[str, list[int]] = {}
    for i, step in enumerate(graph.steps):
        for name in step.inputs:
            reads.setdefault(name, []).append(i)
    for port in graph.outputs:
        reads.setdefault(port.name, []).append(-1)
    steps: list[Step | None] = list(graph.steps)
    for i, step in enumerate(graph.steps):
        if step.converter.op not in FUSED or any(step.outputs[1:]) or step.attributes.get("training_mode"):
            continue
        at, joined = i, step
        if (k := _only_reader(reads, joined.outputs[0])) is not None and step.converter.op == "BatchNormalization":
            following = graph.steps[k]
            other = [name for name in following.inputs if name != joined.outputs[0]]
            is_sum = following.converter.op == "Add" and following.converter.since >= 7 and steps[k] is following
            if is_sum and len(other) == 1:
                steps[at], at = None, k
                joined = replace(joined, inputs=(*joined.inputs, *other), outputs=following.outputs, residual=True)
        if (k := _only_reader(reads, joined.outputs[0])) is not None:
            following = graph.steps[k]
            if following.converter.op in FUSED[step.converter.op] and steps[k] is following:
                steps[at], at = None, k
                activation = ACTIVATIONS[following.converter.op]
                joined = replace(joined, outputs=following.outputs, activation=activation)
        steps[at] = joined
    return replace(graph, steps=[s for s in steps if s is not None])


def _only_reader(reads: dict[str, list[int]], name: str) -> int | None:
    found = reads.get(name, [])
    return found[0] if len(found) == 1 and found[0] >= 0 else None
