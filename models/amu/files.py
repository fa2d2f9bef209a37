"""Networks of lookup layers as files (:mod:`..graph_files`)."""

from typing import get_args

from ..graph_files import Files
from .encoder import Encoder
from .layer import Format, Layer
from .network import Network, Operation

_FILES = Files(Network, (*get_args(Operation), Encoder, Format, Layer))
save, load, digest, opened = _FILES.save, _FILES.load, _FILES.digest, _FILES.opened
