"""A whole network of lookup layers as one pipeline that is never stopped inside.

Every node becomes blocks (:mod:`.stages`) that pass pixels on after a number of cycles that is
known (:mod:`.schedule`), so nothing but the two ends (:mod:`.ends`) has ``ready``.
"""

from .engine import ENGINE

__all__ = ["ENGINE"]
