"""FLOPs of a run: its steps are sorted by how wide they are, and of each kind torch counts the first, as it runs.

A FLOP is a multiplication or an addition of a matrix product, as `torch.utils.flop_counter` counts them: attention
by the kernel that computes it, backward passes included, work by elements (and so the optimiser's) not. The other
steps of a kind are taken to cost as much a token, padding included. That is within 2 % of counting every step.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import log, prod
from typing import Any

import torch
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from xlbench.backbone import Backbone
from xlbench.batching import Batch

KIND = 1.2  # steps are of one kind where their batches, and streams, are as wide to a factor of about that

Size = tuple[int, ...]


class FlopMeter:
    """Sums the FLOPs of steps that differ in nothing but their batches: of one training, or of scoring.

    It draws no random number and runs nothing twice. Without a backbone nothing is counted.
    """

    def __init__(self, backbone: Backbone | None) -> None:
        self.backbone, self.total = backbone, 0.0
        self._per_token: dict[tuple[int, ...], float] = {}  # by kind

    def begin(self) -> None:
        """From now on a step does other things than those before it, as in another phase of training."""
        self._per_token.clear()

    @contextmanager
    def step(self, batch: Batch) -> Iterator[None]:
        """Within it one batch is trained on (loss and backward), or scored."""
        if self.backbone is None:
            yield
            return
        kind, tokens = _kind(self.backbone.passes(part) for part in (batch, *batch.streams.values()))
        if kind in self._per_token:
            yield
            self.total += tokens * self._per_token[kind]
            return
        grad = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.set_grad_enabled(grad), Counter() as counter:
            yield
        self._per_token[kind] = counter.total / tokens
        self.total += counter.total


def _kind(parts: Iterable[Sequence[tuple[int, int]]]) -> tuple[tuple[int, ...], int]:
    """Of a batch and its streams, by the (rows, tokens) of their passes: how wide each is, and the tokens of all."""
    kind, tokens = [], 0
    for passes in parts:
        own = sum(rows * width for rows, width in passes)
        mean = sum(rows * width**2 for rows, width in passes) / own
        kind.append(round(log(mean, KIND)))
        tokens += own
    return tuple(kind), tokens


class Counter(TorchDispatchMode):
    """Counts as `FlopCounterMode` does, by its formulas and those that it lacks; without its hooks on modules, which
    fail on some of what a method runs. Not for inference mode, where an operation made of others comes whole.
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


def _attention(query: Size, key: Size, value: Size, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _products(states: Size, *weights: Any) -> int:
    """Each state, (…, d), meets every matrix of the weights, which stand alone or in a list."""
    shapes = [shape for part in weights for shape in (part if isinstance(part, list) else [part])]
    matrices = [shape for shape in shapes if isinstance(shape, torch.Size) and len(shape) == 2]
    return 2 * prod(states[:-1]) * sum(map(prod, matrices))


def _recurrent(*shapes: Any, **_: Any) -> int:
    """States and weights: of one layer and direction, two matrices and two biases; or of all, in one list."""
    return _products(*shapes[: 2 if isinstance(shapes[1], list) else 5])


def _transformer_layer(states: Size, *weights: Any, **_: Any) -> int:
    """A layer of `nn.TransformerEncoder` as one kernel: four matrices meet each state, (n, t, d), and the attention."""
    rows, length, width = states
    return _products(states, *weights) + _attention(*[(rows, 1, length, width)] * 3)


_KERNELS: dict[str, Callable[..., int]] = {  # that torch's counter does not know
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_flash_attention_for_cpu_backward": lambda *sizes, **_: sdpa_backward_flop_count(*sizes[:4]),
    "mkldnn_rnn_layer": _recurrent,
    "mkldnn_rnn_layer_backward": lambda *shapes, **_: 2 * _recurrent(*shapes),  # for the states, and for the weights
    "_cudnn_rnn": _recurrent,
    "_cudnn_rnn_backward": lambda *shapes, **_: 2 * _recurrent(*shapes),
    "_transformer_encoder_layer_fwd": _transformer_layer,
}
_OURS = {getattr(torch.ops.aten, name): flops for name, flops in _KERNELS.items() if hasattr(torch.ops.aten, name)}
FORMULAS = FlopCounterMode(display=False, custom_mapping=_OURS).flop_registry  # by kernel, torch's own included
