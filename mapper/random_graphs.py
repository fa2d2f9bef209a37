"""Small random graphs with everything that graphs may have, on memories that are scarce."""

import random
from collections.abc import Iterator

from .graph import LOAD, Graph, Op, Tensor
from .problem import Memory, Problem, lower


def draw(rng: random.Random, operators: int = 8) -> Graph:
    """A graph of four to ``operators`` operators.

    Some have several results, read an operand twice, overwrite one, read a reshape of one, write
    parts of a concatenation, or share parameters; there are one or two loads, and outputs that
    are read as well.
    """
    return _Drawing(rng, rng.choice([*range(4, operators), operators, operators])).graph()


def problem(rng: random.Random, graph: Graph) -> Problem:
    """``graph`` on a scratchpad that holds its largest operator and little more, or nothing more.

    With an alignment, banks, double buffering, parameters, or none of these.
    """
    alignment, banks = rng.choice([(1, 1), (1, 1), (1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (1, 3)])
    double, parameters = rng.random() < 0.25, rng.random() < 0.4
    unit = alignment * banks
    floor = lower(graph, Memory(unit << 20, alignment, banks, double), parameters).floor
    if double:
        floor += rng.randint(0, floor // 2)
    budget = (-(-floor // unit) + rng.choice([0, 0, 0, 1, 2])) * unit
    return lower(graph, Memory(budget, alignment, banks, double), parameters)


def problems(count: int, seed: int = 0, operators: int = 8) -> Iterator[tuple[str, Graph, Problem]]:
    """So many, each with the name of the seed that draws it again, as the first, alone."""
    for n in range(count):
        rng = random.Random(seed + n)
        while True:
            graph = draw(rng, operators)
            found = problem(rng, graph)
            if _most(found) > found.memory.budget or rng.random() < 0.1:
                break  # mostly there is something to decide
        yield f"seed {seed + n}", graph, found


def _most(problem: Problem) -> int:
    """Bytes at once if nothing leaves between its uses, in the default order."""
    uses = [
        [t for t, step in enumerate(problem.steps) if b in step.uses]
        for b in range(len(problem.buffers))
    ]
    return max(
        sum(problem.buffers[b].size for b, own in enumerate(uses) if own[0] <= t <= own[-1])
        for t in range(len(problem.steps))
    )


class _Drawing:
    def __init__(self, rng: random.Random, operators: int) -> None:
        self.rng = rng
        self.plain = rng.choice([1, 4])
        self.sizes = rng.choice([(1, 5), (1, 3), (2, 4), (3, 5)])
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.inputs: list[str] = []
        self.lost: set[str] = set()
        """Tensors whose bytes were overwritten, or are to be written by others yet."""
        for n in range(rng.choice([1, 1, 2])):
            self.ops.append(Op(f"x{n}", LOAD, (), (self.tensor(f"x{n}"),)))
        if rng.random() < 0.4:
            self.inputs.append(self.tensor("shared"))
        while len(self.ops) < operators:
            self.step(operators - len(self.ops))

    def tensor(self, name: str, **changes: int | str) -> str:
        """A new one."""
        given = {"bytes": self.rng.randint(*self.sizes), **changes}
        self.tensors[name] = Tensor(name, **given)  # type: ignore[arg-type]
        return name

    def operands(self, most: int = 3) -> list[str]:
        """Some of what can be read, perhaps one of them twice."""
        known = [t for t in self.tensors if t not in self.lost]
        # What came last is read mostly, so that graphs hang together; the rest early or late.
        some = {t for t in known[-1:] if self.rng.random() < 0.7}
        more = self.rng.choice([0, 1, 1, 1, 2][not some :])
        some.update(self.rng.sample(known, min(more, len(known), most)))
        found = sorted(some)
        return found + found[:1] * (self.rng.random() < 0.1)

    def add(self, inputs: list[str], outputs: list[str]) -> None:
        name, weights = f"f{len(self.ops)}", self.rng.choice([0, 0, 1, 2, 3])
        self.ops.append(Op(name, "f", tuple(inputs), tuple(outputs), weights))

    def step(self, room: int) -> None:
        name, kind = f"t{len(self.ops)}", self.rng.random() * self.plain
        if kind < 0.15 and room > 1:
            self.concatenate(name, self.rng.randint(2, min(room, 3)))
        elif kind < 0.3:
            self.overwrite(name)
        elif kind < 0.4:
            # An operand in another shape, or a part of it.
            [of] = self.rng.sample([t for t in self.tensors if t not in self.lost], 1)
            most = self.tensors[of].bytes
            offset = self.rng.choice([0, self.rng.randrange(most)])
            part = self.tensor(f"{name}v", bytes=most - offset, view=of, offset=offset)
            self.lost.add(part)  # so that nobody overwrites it without its owner
            self.add([part, *self.operands(1)], [self.tensor(name)])
        elif kind < 0.5:
            inputs = self.operands()
            self.add(inputs, [self.tensor(f"{name}a"), self.tensor(f"{name}b")])
        else:
            inputs = self.operands()
            self.add(inputs, [self.tensor(name)])

    def concatenate(self, name: str, parts: int) -> None:
        """Operators that write parts of a tensor; it can be read after the last."""
        sizes = [self.rng.randint(1, 3) for _ in range(parts)]
        known = [self.operands(2) for _ in sizes]
        self.tensor(name, bytes=sum(sizes))
        for n, (size, inputs) in enumerate(zip(sizes, known, strict=True)):
            part = self.tensor(f"{name}p{n}", bytes=size, view=name, offset=sum(sizes[:n]))
            self.lost.add(part)
            self.add(inputs, [part])

    def overwrite(self, name: str) -> None:
        """An operator whose result lies over an operand, or over a part of it."""
        inputs = self.operands()
        over = inputs[0]
        if self.rng.random() < 0.2:
            inputs = inputs[1:]  # it writes a part and does not read
        size = self.tensors[over].bytes
        made = size if self.rng.random() < 0.7 else self.rng.randint(1, size)
        # Views of what is overwritten in part cannot be told from it: nobody reads them again.
        self.lost.update(t for t in self.tensors if self.root(t) == self.root(over))
        self.tensor(name, bytes=made, view=over, offset=self.rng.randint(0, size - made))
        self.add(inputs, [name])

    def root(self, tensor: str) -> str:
        found = self.tensors[tensor]
        return tensor if found.view is None else self.root(found.view)

    def graph(self) -> Graph:
        read = {t for op in self.ops for t in op.inputs}
        ends = [t for op in self.ops for t in op.outputs if t not in read]
        more = [t for t in sorted(read) if self.rng.random() < 0.08]
        # Every end is delivered, but for few.
        ends = [t for t in ends if self.rng.random() < 0.9] or ends[-1:]
        used = {t for op in self.ops for t in (*op.inputs, *op.outputs)}
        kept = [t for t in self.inputs if any(self.root(u) == t for u in used)]
        outputs = dict.fromkeys([*ends, *more])
        return Graph("drawn", self.tensors.values(), self.ops, kept, [*outputs])
