"""SORE: of every M weights the N of largest magnitude, with their positions."""

from .engine import ENGINE

__all__ = ["ENGINE"]
