"""Binary networks: what a pipeline of engines computes, bit for bit.

::

    Network((
        Node("pixels", Input((32, 32, 3))),
        Node("conv1", Convolution(...), (0,)),
        Node("bits1", Threshold(...), (1,)),
        Node("conv2", Convolution(...), (2,)),
        Node("sum", Sum(), (3,)),
    ))

The operations are those of :mod:`.operations`.  The last node gives bits or accumulators.
"""

from typing import TypeAlias

from .. import graph
from .operations import Kind, Operation

Node: TypeAlias = graph.Node[Operation]


class Network(graph.Graph[Operation, Kind]):
    """Nodes of these operations."""
