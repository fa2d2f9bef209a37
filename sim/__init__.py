"""Running a design and comparing it with its golden model.

``simulate`` runs an engine's workload on a backend; ``Session`` drives any component
by hand.
"""

from .interactive import Session
from .run import Hang, Run, Wave
from .simulate import BACKENDS, Report, simulate

__all__ = ["BACKENDS", "Hang", "Report", "Run", "Session", "Wave", "simulate"]
