"""What passes from one part of a stage to the next, without ``ready``: nothing inside waits."""

from amaranth.hdl import ShapeLike
from amaranth.lib.wiring import Out, Signature

from ...models.bcnn.stages import Stage


class Words(Signature):
    """Words of a stage's taps, one a cycle.

    ``first`` and ``last`` of a group, ``final`` of the frame's last pixel; a word that is not
    ``inside`` adds nothing.  ``shortcut`` has a word of each shortcut, together with ``first``.
    ``tap`` and ``group`` are those of the next cycle's word.
    """

    def __init__(self, stage: Stage):
        pixels = stage.readers + tuple(shortcut.reader for shortcut in stage.shortcuts)
        super().__init__(
            {
                "valid": Out(1),
                "word": Out(stage.readers[0].word_bits),
                "inside": Out(1),
                "first": Out(1),
                "last": Out(1),
                "final": Out(1),
                "shortcut": Out(pixels[-1].word_bits).array(len(stage.shortcuts)),
                "tap": Out(range(stage.taps)),
                "group": Out(range(len(stage.groups))),
            }
        )


class Beats(Signature):
    """Results of a group, P channels."""

    def __init__(self, shape: ShapeLike):
        super().__init__({"valid": Out(1), "payload": Out(shape)})


class Entry(Signature):
    """A word that enters a memory when ``en``."""

    def __init__(self, bits: int):
        super().__init__({"en": Out(1), "word": Out(bits)})
