"""The one training loop: spends the budget, and keeps the state that the selection policy names."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from xlbench.batching import Batch, collate
from xlbench.costs import Stopwatch, trained_parameters
from xlbench.errors import Diverged, NotSupported
from xlbench.flops import NOT_COUNTED, FlopMeter
from xlbench.inference import autocast
from xlbench.method import Method, Stream
from xlbench.progress import Progress
from xlbench.prompts import Encoded
from xlbench.spec import Selection, Training

State = dict[str, Tensor]
Evaluate = Callable[[], tuple[float, float]]  # → accuracy and mean loss on the rows that select


@dataclass(frozen=True)
class Fitted:
    """What training leaves beside the weights: the step whose state is tested, and what was seen on the way."""

    steps: int
    step: int
    kept: float  # the part that weight decay leaves of a word embedding without a gradient, in the state that is tested
    history: list[dict[str, float]]


def fit(
    method: Method,
    module: nn.Module,
    shots: Encoded,
    streams: Mapping[str, Stream],
    evaluate: Evaluate,
    training: Training,
    selection: Selection,
    seed: int,
    device: torch.device,
    precision: str,
    watch: Stopwatch,
    progress: Progress,
    flops: FlopMeter = NOT_COUNTED,
) -> Fitted:
    """Train `module` in place by the method's loss; it ends in the state that the policy selects.

    last: the final state. average-last: the mean of the weights at the last checkpoints. source-dev and
    oracle-target-dev: the checkpoint with the best accuracy by `evaluate` (ties: the lower loss, then the
    earlier). Raises Diverged where the loss is not a number, NotSupported where nothing trains.
    """
    trained = trained_parameters(module)
    if not trained:
        raise NotSupported(f"method {method.name} has nothing to train with --tune frozen; use all or lora")
    assert training.learning_rate is not None
    per_epoch = math.ceil(len(shots) / training.batch_size)
    steps = training.steps or training.epochs * per_epoch
    checkpoints = {round(steps * (number + 1) / training.checkpoints) for number in range(training.checkpoints)} - {0}
    optimiser = torch.optim.AdamW(
        method.parameter_groups(module, training.learning_rate),
        weight_decay=training.weight_decay,
        fused=True,
    )
    warmup = max(1, round(training.warmup * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda done: min(1.0, (done + 1) / warmup))
    keeper, decay = _Keeper(trained, selection, training.average_last), _Decay(optimiser, method)
    selects = selection in {"source-dev", "oracle-target-dev"}
    batches = training_batches(method, shots, streams, training.batch_size, seed, device)
    history: list[dict[str, float]] = []
    losses: list[Tensor] = []
    module.train()
    with progress.stage("train", steps):
        for step in range(1, steps + 1):
            batch = next(batches)
            with flops.step(batch):
                with autocast(device, precision):
                    loss = method.loss(batch)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
            nn.utils.clip_grad_norm_(trained.values(), training.clip)
            optimiser.step()
            decay.step()
            schedule.step()
            losses.append(loss.detach())
            facts: dict[str, float] = {}
            if step in checkpoints:
                facts["loss"] = _mean(losses, method.name, step)
                losses.clear()
                if selects:
                    module.eval()
                    with watch.stage("evaluation"):
                        facts["dev_accuracy"], facts["dev_loss"] = evaluate()
                    module.train()
                history.append({"step": step, **facts})
                keeper.see(step, facts, decay.kept)
            progress.step(1, **facts)
    module.eval()
    return Fitted(steps, *keeper.restore(), history)


class _Keeper:
    """Keeps the state that a selection policy will name, and no more states than it needs."""

    def __init__(self, trained: Mapping[str, nn.Parameter], selection: Selection, last: int) -> None:
        self.trained, self.selection, self.last = trained, selection, last
        self.best: tuple[float, float] | None = None
        self.kept: list[tuple[int, float, State]] = []
        self.step, self.decay = 0, 1.0

    def see(self, step: int, facts: Mapping[str, float], decay: float) -> None:
        """A checkpoint is reached; `facts` holds dev_accuracy and dev_loss where the policy asks for them."""
        self.step, self.decay = step, decay
        if self.selection == "average-last":
            self.kept = [*self.kept, (step, decay, self._state())][-self.last :]
        elif self.selection != "last":
            rank = (facts["dev_accuracy"], -facts["dev_loss"])
            if self.best is None or rank > self.best:
                self.best, self.kept = rank, [(step, decay, self._state())]

    def restore(self) -> tuple[int, float]:
        """Put the selected state back; returns its step (the last of those that were averaged) and its decay."""
        if self.selection == "last" or not self.kept:
            return self.step, self.decay
        with torch.no_grad():
            for name, value in self.trained.items():
                value.copy_(torch.stack([state[name] for _, _, state in self.kept]).mean(dim=0))
        return self.kept[-1][0], sum(decay for _, decay, _ in self.kept) / len(self.kept)

    def _state(self) -> State:
        return {name: value.detach().clone() for name, value in self.trained.items()}


class _Decay:
    """What weight decay alone has left so far of a weight in the word embeddings' group, as a part of it."""

    def __init__(self, optimiser: torch.optim.Optimizer, method: Method) -> None:
        words, self.kept = method.backbone.word_embeddings(), 1.0
        groups = optimiser.param_groups
        self.group = next((one for one in groups if any(value is words for value in one["params"])), None)

    def step(self) -> None:
        """The optimiser made a step, at its group's learning rate."""
        if self.group is not None:
            self.kept *= 1.0 - self.group["lr"] * self.group["weight_decay"]


def training_batches(
    method: Method, shots: Encoded, streams: Mapping[str, Stream], size: int, seed: int, device: torch.device
) -> Iterator[Batch]:
    """Endless training batches; the order of the shots depends on the seed alone, not on the method."""
    pad = method.backbone.tokenizer.pad_token_id
    orders = {"": _order(len(shots), size, seed, "shots")}
    for name, stream in streams.items():
        if not stream.aligned:
            group = stream.group or name
            orders.setdefault(group, _order(len(stream.encoded), size, seed, group))
    while True:
        chosen = {group: next(order) for group, order in orders.items()}
        extra = {
            name: collate(
                stream.encoded, chosen["" if stream.aligned else stream.group or name], pad, device
            )
            for name, stream in streams.items()
        }  # fmt: skip
        yield collate(shots, chosen[""], pad, device).with_streams(extra)


def _order(rows: int, size: int, seed: int, purpose: str) -> Iterator[np.ndarray]:
    """Endless batches of row numbers: every row once an epoch, in a new order each time."""
    random = generator(seed, purpose)
    while True:
        order = random.permutation(rows)
        for start in range(0, rows, size):
            yield order[start : start + size]


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A generator for one purpose of a run, so that what one part draws never shifts what another draws."""
    digest = hashlib.sha256(f"{purpose}\x1f{seed}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def _mean(losses: list[Tensor], method: str, step: int) -> float:
    mean = float(torch.stack(losses).float().mean())
    if not math.isfinite(mean):
        raise Diverged(f"method {method}: the loss is {mean} at step {step}; try a smaller learning rate")
    return mean
