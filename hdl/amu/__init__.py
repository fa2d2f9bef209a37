"""Matrix multiplication by table lookup, in hardware."""

from .engine import ENGINE

__all__ = ["ENGINE"]
