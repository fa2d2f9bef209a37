"""N:M sparse training array: forward, backward and update of a layer, dense or N of M.

From "Efficient N:M Sparse DNN Training Using Algorithm, Architecture, and Dataflow Co-Design"
(Fang, Sun, Zhou, Wang, TCAD 2023).
"""

from .engine import ENGINE

__all__ = ["ENGINE"]
