"""The least bytes over all orders, jointly with what stays and where.

* :mod:`.structure`: what the graph alone says of the orders.
* :mod:`.states`: a search over sets of executed steps, compiled; exact where these are few, and
  quick with a beam where they are not.
* :mod:`.program`: the same as 0/1 rows, for CP-SAT (:mod:`.cpsat`), CBC and HiGHS.
* :mod:`.joint`: :func:`solve`: one of these, packing, and conflicts back.
"""

from .joint import Backend, solve
from .structure import Structure, segments

__all__ = ["Backend", "Structure", "segments", "solve"]
