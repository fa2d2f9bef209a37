"""Binary and binary complex networks, whole, as a pipeline of convolution cores.

Every layer is a stage (:mod:`thresher.models.bcnn.stages`): its :mod:`.walker` reads a word a cycle
from its memories (:mod:`.ring`), its :mod:`.products` meet it with weights and add it up, or its
:mod:`.pool` takes the OR; a :mod:`.gear` brings results to the next stage's width.  Only the ends
(:mod:`.source`, :mod:`.sink`) have ``ready``: everything between has its cycle.
"""

from .engine import ENGINE

__all__ = ["ENGINE"]
