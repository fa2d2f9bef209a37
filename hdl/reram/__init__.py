"""A convolution or a linear layer on crossbars that polarised weights need no second set of.

A stream of activations becomes windows (:mod:`.window`), every row of crossbars takes its part of
them bit by bit (:mod:`.planes`), and what the arrays' ADCs read (:mod:`.array`) is put together
(:mod:`.readout`, :mod:`.collect`) to a stream of activations again.  The array is a module of its
own: plain logic that counts and saturates, or what a co-simulation puts in its place.
"""

from .engine import ENGINE

__all__ = ["ENGINE"]
