"""Networks of integer layers: what a pipeline of engines computes, bit for bit.

::

    Network((
        Node("pixels", Input((28, 28, 1))),
        Node("conv", Convolution(...), (0,)),
        Node("pool", MaxPool((2, 2), (2, 2)), (1,)),
        Node("flat", Flatten(), (2,)),
        Node("classes", Lookup(...), (3,)),
    ))

The operations are those of :mod:`.operations` and :mod:`.convolution`.
"""

from typing import TypeAlias

from .. import graph
from .convolution import Convolution, MaxPool, Patches
from .operations import Add, Concat, Dense, Flatten, Input, Kind, Lookup, Select

Operation = (
    Input | Lookup | Convolution | Dense | Add | Concat | Select | Flatten | Patches | MaxPool
)
Node: TypeAlias = graph.Node[Operation]


class Network(graph.Graph[Operation, Kind]):
    """Nodes of these operations."""
