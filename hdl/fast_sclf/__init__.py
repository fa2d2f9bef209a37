"""Fast-SCLF: a semi-parallel list decoder of polar codes that can flip a path selection.

A *path* is one of ``list_size`` hypotheses, kept in a *slot*; slots are in the order of their
metrics after every split.  Each slot owns a *bank* of every memory, which it alone writes;
what its ancestors wrote is found through pointers and never copied (:mod:`.pointers`).

All control is a program of one instruction a cycle, compiled from the frozen set
(:mod:`.compiler`): no block decides anything but which paths survive.
"""

from .engine import ENGINE

__all__ = ["ENGINE"]
