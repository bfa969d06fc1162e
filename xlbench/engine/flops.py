"""FLOPs of a run: counted by torch for as few of its steps as tell the rest, while they really run.

A FLOP is a multiplication or an addition of a matrix product, as `torch.utils.flop_counter` counts them: attention
by the kernel that computes it, backward passes included, work by elements (and so the optimiser's) not.

What a step takes is linear in the shapes of its batch: so much for the step, for each row, each token, each pair of
tokens, each language and each row of each. So a step is counted only where its shapes are no combination of those
counted before, and the others follow, exactly (all but those of label words in several languages of unlike numbers of
tokens). Now and then one that follows is counted all the same; where it is not what followed, a note says that the
sum is an estimate.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import torch
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from xlbench.backbone import Backbone
from xlbench.batching import Batch

CHECKED_AGAIN = 30  # of the steps that follow from others, the 1st, about the 30th, 900th … is counted as a check
REMEMBERED = 10_000  # steps whose FLOPs are not worked out again, where their shapes come again

Size = tuple[int, ...]
Vector = dict[str, int]


class FlopMeter:
    """Sums the FLOPs of steps that are alike in all but the shapes of their batches: of training, or of scoring.

    It draws no random number and runs nothing twice. A meter `alike` another shares what that one learned, and has
    a sum of its own; it counts the first step that follows, and learns by itself where the other was wrong about it.
    Without a backbone nothing is counted.
    """

    def __init__(self, backbone: Backbone | None, alike: "FlopMeter | None" = None) -> None:
        self.backbone = backbone
        self.total = Fraction(0)
        self.steps = self.counted = self.checks = 0
        self.deviation = 0.0  # the largest that a check found where steps had followed, as a share of its count
        self._law: Law = Law() if alike is None else alike._law
        self._borrowed = alike is not None  # and nothing has shown yet that it holds here
        self._next_check = 1

    @contextmanager
    def step(self, batch: Batch) -> Iterator[None]:
        """Within it one batch is trained on (loss and backward), or scored."""
        if self.backbone is None:
            yield
            return
        shapes = Shapes.of(batch, self.backbone)
        told, self.steps = self._law.value(shapes), self.steps + 1
        followed = self.steps - self.counted  # with this one
        if told is not None and followed < self._next_check:
            yield
            self.total += told
            return
        with _out_of_inference_mode(), Counter() as counter:
            yield
        self.counted += 1
        self.total += counter.total
        if told is not None and self._borrowed:  # the first that follows
            self._borrowed = False
            if told != counter.total:
                self._law, told = Law(), None
        if told is not None:
            self.checks += 1
            self._next_check = CHECKED_AGAIN * followed
            if followed > 1:
                self.deviation = max(self.deviation, float(abs(told - counter.total)) / max(counter.total, 1))
        self._law.learn(shapes, counter.total)

    def note(self, what: str) -> str:
        """A sentence for the record where the sum is an estimate; empty where no check says so."""
        if not self.deviation:
            return ""
        worst = f"{100 * self.deviation:.2g} %"
        return f"the FLOPs of {what} are an estimate: of {self.checks} steps checked the worst was off by {worst}"


class Counter(TorchDispatchMode):
    """Counts as `FlopCounterMode` does, by its formulas and those that it lacks, at a third of its cost: that one
    also says which module took how much, by hooks, and takes every operation apart once more.

    Not for inference mode, where an operation made of others comes whole; `step` leaves it for a counted batch.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if isinstance(func, HigherOrderOperator):
            return NotImplemented
        named = kwargs or {}
        made = func(*args, **named)
        formula = FORMULAS.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **named, out_val=made)
        return made


@contextmanager
def _out_of_inference_mode() -> Iterator[None]:
    """Where gradients are off, they stay off; nothing where inference mode is not on."""
    with ExitStack() as modes:
        if torch.is_inference_mode_enabled():
            modes.enter_context(torch.inference_mode(False))
            modes.enter_context(torch.no_grad())
        yield


@dataclass(frozen=True)
class Shapes:
    """What the FLOPs of a step are linear in, by name: `few` as a rule, and `more` where those do not suffice."""

    few: Vector
    more: Vector

    @classmethod
    def of(cls, batch: Batch, backbone: Backbone) -> "Shapes":
        """Of a batch and its streams. The `more` tell a method that reads whole batches from one that reads them in
        the passes that save padding, and know what a pass takes whatever its rows."""
        few, more = {"steps": 1}, {}
        for name, part in {"": batch, **batch.streams}.items():
            rows, width = part.ids.shape
            passes = backbone.passes(part)
            few[f"{name} rows"] = rows
            few[f"{name} tokens"] = sum(size * longest for size, longest in passes)
            few[f"{name} pairs"] = sum(size * longest**2 for size, longest in passes)
            if len(part.languages) == 1:
                few[f"{name} in language {min(part.languages)}"] = 1
            else:  # label words of each language are scored for every row
                few[f"{name} languages"] = len(part.languages)
                few[f"{name} rows by languages"] = rows * len(part.languages)
            more[f"{name} passes"] = len(passes)
            more[f"{name} lengths"] = sum(longest for _, longest in passes)
            more |= {f"{name} tokens at once": rows * width, f"{name} pairs at once": rows * width**2}
        return cls(few, few | more)


class Law:
    """How the FLOPs of a step follow from its shapes: from few of them, until a count says otherwise."""

    def __init__(self) -> None:
        self._counts: list[tuple[Shapes, int]] = []
        self._linear, self._wide = Linear(), False

    def value(self, shapes: Shapes) -> Fraction | None:
        """The FLOPs of a step with these shapes, where counts tell them."""
        return self._linear.value(shapes.more if self._wide else shapes.few)

    def learn(self, shapes: Shapes, count: int) -> None:
        """Take in a count. One that contradicts the others makes the law ask for more of the shapes."""
        self._counts.append((shapes, count))
        told = self.value(shapes)
        if told is None:
            self._linear.learn(shapes.more if self._wide else shapes.few, count)
        elif told != count and not self._wide:
            self._linear, self._wide = Linear(), True
            for known, its_count in self._counts:
                if self._linear.value(known.more) is None:
                    self._linear.learn(known.more, its_count)


class Linear:
    """A linear function of integer vectors, known from some of its values; vectors by the names of their parts."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, dict[str, Fraction], Fraction]] = []  # part where it is 1, vector, value
        self._values: dict[tuple[tuple[str, int], ...], Fraction] = {}

    def value(self, vector: Vector) -> Fraction | None:
        """Its value, where the vector is a combination of those learned; None elsewhere."""
        key = tuple(vector.items())
        if key not in self._values:
            rest, value = self._rest(vector)
            if rest:
                return None
            if len(self._values) == REMEMBERED:
                self._values.clear()
            self._values[key] = value
        return self._values[key]

    def learn(self, vector: Vector, value: int) -> None:
        """Take in its value at a vector that is no combination of those learned."""
        rest, known = self._rest(vector)
        at, scale = next(iter(rest.items()))
        self._rows.append((at, {name: part / scale for name, part in rest.items()}, (value - known) / scale))

    def _rest(self, vector: Vector) -> tuple[dict[str, Fraction], Fraction]:
        """What is left of a vector without its combination of those learned, and the combination's value."""
        rest = defaultdict(Fraction, {name: Fraction(part) for name, part in vector.items()})
        value = Fraction(0)
        for at, row, its_value in self._rows:
            if factor := rest[at]:
                value += factor * its_value
                for name, part in row.items():
                    rest[name] -= factor * part
        return {name: part for name, part in rest.items() if part}, value


def _attention(query: Size, key: Size, value: Size, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_backward(gradient: Size, query: Size, key: Size, value: Size, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(gradient, query, key, value))


def _lstm_layer(states: Size, into: Size, within: Size, *_: Any, **__: Any) -> int:
    """One layer and direction: each state, (…, d), meets both matrices."""
    return 2 * prod(states[:-1]) * (prod(into) + prod(within))


def _lstm_layer_backward(*shapes: Any, **named: Any) -> int:
    """Twice the forward pass, as of every matrix product: once for the states, once for the weights."""
    return 2 * _lstm_layer(*shapes, **named)


def _recurrent(states: Size, *args: Any, **_: Any) -> int:
    """All layers and directions at once; of the lists of shapes that come along, matrices are weights."""
    shapes = [shape for arg in args if isinstance(arg, list) for shape in arg if isinstance(shape, torch.Size)]
    return 2 * prod(states[:-1]) * sum(prod(shape) for shape in shapes if len(shape) == 2)


def _recurrent_backward(*shapes: Any, **named: Any) -> int:
    return 2 * _recurrent(*shapes, **named)


def _transformer_layer(
    states: Size, _width: int, _heads: int, into: Size, _: Size, out: Size, *rest: Any, **__: Any
) -> int:
    """A layer of `nn.TransformerEncoder` as one kernel: four matrices meet each state, (n, t, d), and the attention.

    `rest`: a bias, two flags, a small number and two norms of two vectors; then both matrices, each with its bias.
    """
    rows, length, width = states
    products = sum(prod(matrix) for matrix in (into, out, rest[8], rest[10]))
    return 2 * rows * length * products + _attention(*[(rows, 1, length, width)] * 3)


def _formulas() -> dict[Any, Any]:
    """FLOPs by kernel: torch's own formulas, and those of kernels that it does not know, where this torch has them."""
    named = {
        "_scaled_dot_product_flash_attention_for_cpu": _attention,
        "_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
        "mkldnn_rnn_layer": _lstm_layer,
        "mkldnn_rnn_layer_backward": _lstm_layer_backward,
        "_cudnn_rnn": _recurrent,
        "_cudnn_rnn_backward": _recurrent_backward,
        "_transformer_encoder_layer_fwd": _transformer_layer,
    }
    more = {getattr(torch.ops.aten, name): count for name, count in named.items() if hasattr(torch.ops.aten, name)}
    return FlopCounterMode(display=False, custom_mapping=more).flop_registry


FORMULAS = _formulas()
NOT_COUNTED = FlopMeter(None)
