"""The one training loop: spends the budget, and keeps the state that the selection policy names."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xlbench.batching import Batch, collate
from xlbench.engine.checkpoint import Checkpoint
from xlbench.engine.costs import trained_parameters
from xlbench.engine.predict import autocast
from xlbench.engine.session import Session
from xlbench.errors import Diverged, NotSupported, XlbenchError
from xlbench.host.memory import free_bytes, gib, said_if_short
from xlbench.method import Method, Stream
from xlbench.prompts import Encoded
from xlbench.spec import ResolvedTraining, Selection

State = dict[str, Tensor]
Evaluate = Callable[[], tuple[float, float]]  # → the task's metric and mean loss on the rows that select


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
    training: ResolvedTraining,
    selection: Selection,
    seed: int,
    session: Session,
    checkpoint: Checkpoint | None = None,
) -> Fitted:
    """Train `module` in place by the method's loss; it ends in the state that the policy selects.

    last: the final state. average-last: the mean of the weights at the last checkpoints. source-dev and
    oracle-target-dev: the checkpoint with the best metric by `evaluate` (ties: the lower loss, then the
    earlier), among those of the method's last phase. With a `checkpoint`, what an earlier process left there is where
    training begins, and what the next step depends on is kept there now and then. Raises Diverged where the loss is not
    a number, OutOfMemory where a batch does not fit, NotSupported where nothing trains.
    """
    trained, device = trained_parameters(module), session.device
    if not trained:
        raise NotSupported(nothing_trains(method))
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
    course = _Course(module, trained, optimiser, schedule, keeper, decay, device)
    if checkpoint is not None:
        course.resume(checkpoint)
    batches = training_steps(
        method, shots, streams, training.batch_size, seed, device, training.accumulate, skip=course.step
    )
    history, losses = course.history, course.losses
    module.train()
    with session.progress.stage("train", steps):
        if course.step:
            session.progress.step(course.step)
        for step in range(course.step + 1, steps + 1):
            parts = next(batches)
            method.progress = (step - 1) / steps
            loss = torch.zeros((), device=device)
            with said_if_short(partial(_too_large, method, parts[0], session)):
                optimiser.zero_grad(set_to_none=True)
                for batch in parts:
                    with session.meters["training"].step(batch):
                        with autocast(device, session.precision):
                            part = _loss(method, batch) / len(parts)
                        part.backward()
                    loss = loss + part.detach()
                nn.utils.clip_grad_norm_(trained.values(), training.clip)
                optimiser.step()
            decay.step()
            schedule.step()
            losses.append(loss)
            facts: dict[str, float] = {}
            if step in checkpoints:
                facts["loss"] = _mean(losses, method.name, step)
                losses.clear()
                if selects:
                    module.eval()
                    with session.watch.stage("evaluation"):
                        facts["dev_score"], facts["dev_loss"] = evaluate()
                    module.train()
                history.append({"step": step, **facts})
                if step > method.last_phase * steps or step == steps:
                    keeper.see(step, facts, decay.kept)
            session.progress.step(1, **facts)
            course.step = step
            if checkpoint is not None and (checkpoint.due or (step == steps and checkpoint.there)):
                checkpoint.write(course.tensors(), course.facts())
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
        """A checkpoint is reached; `facts` holds dev_score and dev_loss where the policy asks for them."""
        self.step, self.decay = step, decay
        if self.selection == "average-last":
            room = self.kept.pop(0)[2] if len(self.kept) == self.last else None
            self.kept.append((step, decay, self._state(room)))
        elif self.selection != "last":
            rank = (facts["dev_score"], -facts["dev_loss"])
            if self.best is None or rank > self.best:
                room = self.kept[0][2] if self.kept else None
                self.best, self.kept = rank, [(step, decay, self._state(room))]

    def restore(self) -> tuple[int, float]:
        """Put the selected state back; returns its step (the last of those that were averaged) and its decay."""
        if self.selection == "last" or not self.kept:
            return self.step, self.decay
        with torch.no_grad():
            for name, value in self.trained.items():
                value.copy_(torch.stack([state[name] for _, _, state in self.kept]).mean(dim=0))
        return self.kept[-1][0], sum(decay for _, decay, _ in self.kept) / len(self.kept)

    def _state(self, room: State | None = None) -> State:
        """A copy of the weights; in the `room` of a state that is no longer needed, where there is one."""
        if room is None:
            return {name: value.detach().clone() for name, value in self.trained.items()}
        for name, value in self.trained.items():
            room[name].copy_(value.detach())
        return room


@dataclass
class _Course:
    """What the next step depends on, beside the data: all that a checkpoint holds.

    The order of the data is not in it: it follows from the seed, and is told over again.
    """

    module: nn.Module
    trained: Mapping[str, nn.Parameter]
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    keeper: _Keeper
    decay: "_Decay"
    device: torch.device
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)  # since the last entry of the history

    def tensors(self) -> State:
        """Weights, buffers, moments, kept states, losses, and the states of the generators that dropout draws from."""
        moments = self.optimiser.state_dict()["state"]
        found: State = {**self._in_module()}
        found |= {f"optimiser/{n}/{name}": value for n, state in moments.items() for name, value in state.items()}
        found |= {f"kept/{n}/{name}": v for n, (*_, kept) in enumerate(self.keeper.kept) for name, v in kept.items()}
        if self.losses:
            found["losses"] = torch.stack(self.losses)
        found["random/cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            found["random/cuda"] = torch.cuda.get_rng_state(self.device)
        return found

    def facts(self) -> dict[str, Any]:
        """What is no tensor."""
        keeper = {
            "step": self.keeper.step,
            "decay": self.keeper.decay,
            "best": self.keeper.best,
            "kept": [[step, decay] for step, decay, _ in self.keeper.kept],
        }
        return {
            "step": self.step,
            "history": self.history,
            "keeper": keeper,
            "rates": [group["lr"] for group in self.optimiser.param_groups],
            "schedule": self.schedule.state_dict(),
            "decay": self.decay.kept,
        }

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from what a checkpoint holds, if it holds anything that is of use."""
        kept = checkpoint.read()
        if kept is not None:
            self._restore(*kept)

    def _restore(self, tensors: State, facts: Mapping[str, Any]) -> None:
        """Take up what `tensors` and `facts` gave."""
        with torch.no_grad():
            for name, value in self._in_module().items():
                value.copy_(tensors[name])
        moments: dict[int, State] = {}
        for name, value in tensors.items():
            kind, _, rest = name.partition("/")
            if kind == "optimiser":
                number, _, name = rest.partition("/")
                moments.setdefault(int(number), {})[name] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})
        self.schedule.load_state_dict(dict(facts["schedule"]))
        for group, rate in zip(self.optimiser.param_groups, facts["rates"], strict=True):
            group["lr"] = rate
        keeper = facts["keeper"]
        self.keeper.step, self.keeper.decay = keeper["step"], keeper["decay"]
        self.keeper.best, self.decay.kept = keeper["best"] and tuple(keeper["best"]), facts["decay"]
        self.keeper.kept = []
        for place, (step, decay) in enumerate(keeper["kept"]):
            state = {name: tensors[f"kept/{place}/{name}"].to(value.device) for name, value in self.trained.items()}
            self.keeper.kept.append((step, decay, state))
        self.step, self.history = facts["step"], facts["history"]
        self.losses = list(tensors["losses"].to(self.device)) if "losses" in tensors else []
        torch.set_rng_state(tensors["random/cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random/cuda"], self.device)

    def _in_module(self) -> State:
        weights = {f"weight/{name}": value for name, value in self.trained.items()}
        return {**weights, **{f"buffer/{name}": value for name, value in self.module.named_buffers()}}


class _Decay:
    """What weight decay alone has left so far of a weight in the word embeddings' group, as a part of it."""

    def __init__(self, optimiser: torch.optim.Optimizer, method: Method) -> None:
        words, self.kept, self.optimiser = method.backbone.word_embeddings(), 1.0, optimiser
        groups = enumerate(optimiser.param_groups)
        self.group = next((n for n, one in groups if any(value is words for value in one["params"])), None)

    def step(self) -> None:
        """The optimiser made a step, at its group's learning rate."""
        if self.group is not None:
            group = self.optimiser.param_groups[self.group]  # asked each time: a state that is taken up makes new ones
            self.kept *= 1.0 - group["lr"] * group["weight_decay"]


def training_batches(
    method: Method, shots: Encoded, streams: Mapping[str, Stream], size: int, seed: int, device: torch.device
) -> Iterator[Batch]:
    """Endless training batches; the order of the shots depends on the seed alone, not on the method."""
    return (batch for (batch,) in training_steps(method, shots, streams, size, seed, device))


def training_steps(
    method: Method,
    shots: Encoded,
    streams: Mapping[str, Stream],
    size: int,
    seed: int,
    device: torch.device,
    accumulate: int = 1,
    skip: int = 0,
) -> Iterator[list[Batch]]:
    """The batch of each step without end, less the first `skip`, in `accumulate` parts that are alike in numbers.

    A mean over the rows of a batch is then the mean of those over its parts. Where some rows make no equal parts (at
    the end of an epoch), there are fewer.
    """
    pad = method.backbone.tokenizer.pad_token_id
    orders = {"": _order(len(shots), size, seed, "shots")}
    for name, stream in streams.items():
        if not stream.aligned:
            group = stream.group or name
            orders.setdefault(group, _order(len(stream.encoded), size, seed, group))
    for _ in range(skip):
        for order in orders.values():
            next(order)
    while True:
        chosen = {group: next(order) for group, order in orders.items()}
        common = math.gcd(*map(len, chosen.values()))
        parts = max(number for number in range(1, accumulate + 1) if common % number == 0)
        split = {group: np.split(rows, parts) for group, rows in chosen.items()}
        yield [
            _batch(shots, streams, {group: rows[number] for group, rows in split.items()}, pad, device)
            for number in range(parts)
        ]


def _batch(
    shots: Encoded, streams: Mapping[str, Stream], chosen: Mapping[str, np.ndarray], pad: int, device: torch.device
) -> Batch:
    """The chosen rows of the shots, and of each stream by its group."""
    extra = {
        name: collate(stream.encoded, chosen["" if stream.aligned else stream.group or name], pad, device)
        for name, stream in streams.items()
    }
    return collate(shots, chosen[""], pad, device).with_streams(extra)


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


def _loss(method: Method, batch: Batch) -> Tensor:
    """What the method minimises. Raises XlbenchError where it is no single number."""
    found: object = method.loss(batch)
    if not isinstance(found, Tensor) or found.numel() != 1:
        what = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else repr(found)[:80]
        raise XlbenchError(f"method {method.name}: loss gave {what}; it must give a scalar tensor")
    return found


def nothing_trains(method: Method) -> str:
    """That a method has no parameters to train, and what to do about it."""
    if any(value.requires_grad for value in method.backbone.parameters()):
        return (
            f"method {method.name} has nothing that trains: no parameter of what its `build` gives has a gradient, and "
            "it has no `fit`, by which a method learns without gradients"
        )
    return f"method {method.name} has nothing to train with --tune frozen; use all or lora"


def _too_large(method: Method, batch: Batch, session: Session) -> str:
    """What was tried, and what to change, where a training step does not fit in memory."""
    parts = {"": batch, **batch.streams}
    tokens = sum(part.ids.numel() for part in parts.values())
    beside = f" and {', '.join(batch.streams)} beside them" if batch.streams else ""
    return (
        f"method {method.name}: a training step of {len(batch)} shots{beside}, {tokens} tokens with padding, in "
        f"{session.precision} does not fit in the memory of {session.device} ({gib(free_bytes(session.device))} free "
        "afterwards); use "
        "a smaller --batch-size or --with training.accumulate=2 or more, a shorter --max-length, --precision bf16, "
        "--tune lora, or a smaller model"
    )


def _mean(losses: list[Tensor], method: str, step: int) -> float:
    mean = float(torch.stack(losses).float().mean())
    if not math.isfinite(mean):
        raise Diverged(f"method {method}: the loss is {mean} at step {step}; try a smaller learning rate")
    return mean
