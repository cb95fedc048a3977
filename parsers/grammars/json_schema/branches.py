"""Lists of nodes of which a value must satisfy one, put together; their number is bounded."""

from collections.abc import Iterable
from typing import Final

from .nodes import Node

Nodes = list[Node]
FREE: Final = Node()
"""What any value satisfies."""
MAX_NODES: Final = 128


def product(ones: Nodes, others: Nodes) -> Nodes | None:
    """Return the nodes that satisfy one of each; None where there are too many."""
    if ones == [FREE]:
        return others
    if others == [FREE]:
        return ones
    if len(ones) > 1 and len(others) > 1 and len(ones) * len(others) > MAX_NODES:
        return None
    found = (one.both(other) for one in ones for other in others)
    return list(dict.fromkeys(node for node in found if node is not None))


def union(parts: Iterable[Nodes]) -> Nodes:
    """Return the nodes of all lists."""
    nodes = list(dict.fromkeys(node for part in parts for node in part))
    return [FREE] if FREE in nodes else nodes
