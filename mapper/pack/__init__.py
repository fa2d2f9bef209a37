"""Places of rectangles with fixed lifetimes in a scratchpad: exact packing, and its peers' greedy.

* :mod:`.rectangle`: the rectangles, their lower bound, the validator, files.
* :mod:`.search`: :func:`pack`, exact; what cannot be packed is explained by an irreducible subset.
* :mod:`.minimise`: the smallest capacity.
* :mod:`.greedy`: what TFLite's planners do.
"""

from .greedy import greedy_by_size, height
from .minimise import Minimum, minimise
from .rectangle import Rectangle, lower_bound, read_csv, validate
from .search import Packing, pack

__all__ = [
    "Minimum",
    "Packing",
    "Rectangle",
    "greedy_by_size",
    "height",
    "lower_bound",
    "minimise",
    "pack",
    "read_csv",
    "validate",
]
