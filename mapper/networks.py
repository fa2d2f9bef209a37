"""A model's graph as the targets want it."""

from collections.abc import Mapping, Sequence
from typing import Any

from . import importers
from .coverage import fuse_for
from .graph import Graph
from .targets.base import Target
from .views import Views


def load(
    model: Any,
    targets: Sequence[Target] = (),
    *,
    element_bytes: int | None = None,
    dimensions: Mapping[str, int] | None = None,
) -> Graph:
    """As :func:`.importers.load`, fused and with its views.

    With ``targets`` no operator takes another one in that its engine would refuse; what a JSON file
    holds is fused as far as it is.
    """
    graph = importers.load(
        model,
        element_bytes=element_bytes,
        dimensions=dict(dimensions or {}),
        fuse=not targets,
        views=Views(reshape=not targets),
    )
    if targets and not str(model).endswith(".json"):
        graph = Views()(fuse_for(graph, targets))
    return graph
