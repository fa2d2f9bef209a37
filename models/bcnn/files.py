"""Binary networks as files (:mod:`..graph_files`)."""

from typing import get_args

from ..graph_files import Files
from .network import Network
from .operations import Operation

_FILES = Files(Network, get_args(Operation))
save, load, digest, opened = _FILES.save, _FILES.load, _FILES.digest, _FILES.opened
