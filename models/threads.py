"""Keeps PyTorch to one thread where its work is many small products."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it, PyTorch uses one thread of the processor.

    Threads that wait for each other after every small product only spin, for minutes where
    other processes need the cores.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
