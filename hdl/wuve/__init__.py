"""WUVE: momentum SGD on FP32 weights, and their copies for an array."""

from .engine import ENGINE

__all__ = ["ENGINE"]
