"""Networks whose weights are faulty: faults injected, activations that are clipped against them.

Weights lie in a memory (:mod:`.memories`), which gives them with faults at a rate; a sweep over
rates and seeds gives a :class:`~.curves.Curve`.  FT-ClipAct (:mod:`.clipact`) and ProAct
(:mod:`.proact`) bound what a faulty weight can do by what they make of ReLUs (:mod:`.activations`).
Any ``torch.nn.Module`` with ``torch.nn.ReLU`` modules will do.
"""
