"""Training for crossbars: weights pruned in whole crossbars, polarised and quantised by ADMM.

:func:`~.convert.convert` takes any ``torch.nn.Module``; :func:`~.digits.polarised_digits` is a
small network that went through it.
"""
