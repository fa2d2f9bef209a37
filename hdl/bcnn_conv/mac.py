"""Products of a word of channels with the weights of several outputs, added up."""

from amaranth.hdl import Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import Component, In, Out

from ...models.bcnn.latency import mac_latency
from ...models.bcnn.stages import Arithmetic
from ..lib.fixed import bounds, narrowest
from ..lib.repeated import Repeated
from .cells import Lut6x2, later
from .popcount import Popcount, Style


class Mac(Component):
    """Sums over a word's ``channels`` of products with the weights of each of ``outputs``.

    A word every cycle; results follow its weights and ``inside``, all of one cycle, ``latency``
    cycles later.  What a word and weights are made of, and what there is for every output::

        arithmetic           channel    weight           result
        binary               bit        w                count = popcount(word == w)
        complex              re, im     wr, wr == wi     re = U + V, im = U - V
        integers             an integer w                re = sum of +-x
        integers, complex    an integer wr, wi           re, im = sums of +-x

    Bits of 1 stand for 1, of 0 for -1.  The sum of binary products is ``2 * count - channels``,
    that of complex ones ``2 * re - 2 * channels`` and ``2 * im``: products are counted on axes
    turned by 45 degrees, where each is a bit of x or its negation (U, V: of how many it is 1)::

        u = w * (k ? xr : xi),  v = w * (k ? -xi : xr),  w = wr, k = wr == wi
        Re = u + v,  Im = u - v

    Where ``inside`` is 0 all products are 0: re = channels, im = 0, of integers 0; count =
    channels / 2, rounded down.
    """

    def __init__(
        self,
        arithmetic: Arithmetic,
        outputs: int,
        channels: int,
        channel_bits: int = 1,
        signed: bool = False,
        complex: bool = False,
        style: Style = "generic",
    ):
        """``channel_bits``, ``signed``, ``complex``: of integers, and whether their weights are."""
        if outputs < 1 or channels < 1:
            raise ValueError(f"{outputs} outputs of {channels} channels; give at least 1 of each")
        if channel_bits < 1:
            raise ValueError(f"channel_bits = {channel_bits}; an integer has at least 1")
        self._arithmetic, self._signed = arithmetic, signed
        self._style: Style = style
        self._outputs, self._channels = outputs, channels
        both = arithmetic == "complex" or (arithmetic == "integers" and complex)
        self._parts = 2 if both else 1
        self.channel_bits = channel_bits if arithmetic == "integers" else self._parts
        self.latency = mac_latency(arithmetic, channels, self.channel_bits)
        weights = ArrayLayout(ArrayLayout(self._parts, channels), outputs)
        super().__init__(
            {
                "word": In(channels * self.channel_bits),
                "weights": In(weights),
                "inside": In(1, init=1),
                **{name: Out(part).array(outputs) for name, part in self._results().items()},
            }
        )

    def _results(self) -> dict[str, Shape]:
        n = self._channels
        if self._arithmetic == "binary":
            return {"count": unsigned(n.bit_length())}
        if self._arithmetic == "complex":
            return complex_sums(n)
        low, high = bounds(Shape(self.channel_bits, self._signed))
        most = n * max(high, -low)
        part = narrowest(-most, most, True)
        return {"re": part, "im": part} if self._parts == 2 else {"re": part}

    def elaborate(self, platform) -> Module:
        m = Module()
        late = later(m, self.inside, self.latency - 1)
        if self._arithmetic == "integers":
            self._integers(m, late)
            return m
        n = self._channels
        for p in range(self._outputs):
            weights = Value.cast(self.weights[p])
            if self._arithmetic == "binary":
                unit = Popcount(n, weighted=True, outside=n // 2, style=self._style)
                m.d.comb += [
                    unit.i.eq(self.word),
                    unit.w.eq(weights),
                    unit.inside.eq(self.inside),
                    self.count[p].eq(unit.o),
                ]
            else:
                unit = ComplexProducts(n, self._style)
                m.d.comb += [
                    unit.x.eq(self.word),
                    unit.w.eq(weights),
                    unit.inside.eq(late),
                    self.re[p].eq(unit.re),
                    self.im[p].eq(unit.im),
                ]
            m.submodules[f"output_{p}"] = Repeated(unit, unit.key)
        return m

    def _integers(self, m: Module, inside: Value) -> None:
        """Twice the sum of those with a weight of 1, less the sum of all."""
        n, bits = self._channels, self.channel_bits
        channels = [self.word[c * bits : (c + 1) * bits] for c in range(n)]
        if self._signed:
            channels = [x.as_signed() for x in channels]
        all = self._tree(m, channels)
        for p in range(self._outputs):
            for part, name in enumerate(("re", "im")[: self._parts]):
                chosen = [Mux(self.weights[p][c][part], x, 0) for c, x in enumerate(channels)]
                twice = self._tree(m, chosen).shift_left(1)
                _result(m, getattr(self, name)[p], twice - all, 0, inside)

    def _tree(self, m: Module, numbers: list[Value]) -> Value:
        while len(numbers) > 1:
            pairs = zip(numbers[::2], numbers[1::2], strict=False)
            sums = [a + b for a, b in pairs] + numbers[len(numbers) & ~1 :]
            numbers = [later(m, number, 1) for number in sums]
        return numbers[0]


class ComplexProducts(Component):
    """``re`` and ``im`` of one output, for words ``x`` and weights ``w`` as :class:`Mac` has them.

    ``inside`` comes with a word's counts, a cycle before the results.
    """

    def __init__(self, channels: int, style: Style):
        self._channels = channels
        self._style: Style = style
        self.key = channels, style
        """Equal ones are equal hardware."""
        members = {"x": In(2 * channels), "w": In(2 * channels), "inside": In(1)}
        sums = {name: Out(shape) for name, shape in complex_sums(channels).items()}
        super().__init__({**members, **sums})

    def elaborate(self, platform) -> Module:
        m, n = Module(), self._channels
        counts = {name: Popcount(n, style=self._style) for name in "uv"}
        for name, count in counts.items():
            m.submodules[name] = count
        u, v = counts["u"], counts["v"]
        for c in range(n):
            x, w = self.x[2 * c : 2 * c + 2], self.w[2 * c : 2 * c + 2]
            one, other = self._turned(m, *x, *w)
            m.d.comb += [u.i[c].eq(one), v.i[c].eq(other)]
        _result(m, self.re, u.o + v.o, n, self.inside)
        _result(m, self.im, u.o - v.o, 0, self.inside)
        return m

    def _turned(self, m: Module, re: Value, im: Value, w: Value, k: Value) -> tuple[Value, Value]:
        """u and v of a product."""
        if self._style != "xilinx":
            return ~(w ^ Mux(k, re, im)), ~(w ^ Mux(k, ~im, re))
        lut = Lut6x2(
            (re, im, w, k),
            lambda re, im, w, k: w == (re if k else im),
            lambda re, im, w, k: w == (1 - im if k else re),
        )
        m.submodules += lut
        return lut.low, lut.high


def complex_sums(channels: int) -> dict[str, Shape]:
    """Of so many products."""
    re, im = unsigned((2 * channels).bit_length()), signed(channels.bit_length() + 1)
    return {"re": re, "im": im}


def _result(m: Module, port: Value, value: Value, outside: int, inside: Value) -> None:
    """A register, without a reset, so that what it holds of words ``outside`` costs nothing."""
    register = Signal(port.shape(), reset_less=True)
    m.d.sync += register.eq(value)
    with m.If(~inside):
        m.d.sync += register.eq(outside)
    m.d.comb += port.eq(register)
