"""The one training loop: spends the budget, and keeps the state that the selection policy names."""

import hashlib
import itertools
import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch, collate
from xlbench.engine.checkpoint import Checkpoint
from xlbench.engine.predict import autocast
from xlbench.engine.session import Session, trained_parameters
from xlbench.errors import Diverged, NotSupported, XlbenchError
from xlbench.host.memory import free_bytes, gib, said_if_short
from xlbench.method import Method, Stream
from xlbench.prompts import Encoded
from xlbench.spec import ResolvedTraining, Selection

State = dict[str, Tensor]
UNTRAINED = 0.01  # a part drawn anew that moved by less of its norm is what it was drawn
Evaluate = Callable[[], tuple[float, float]]  # → the task's metric and mean loss on the rows that select


@dataclass(frozen=True)
class Fitted:
    """What training leaves beside the weights: the step whose state is tested, and what was seen on the way."""

    planned: int
    steps: int  # that were made: fewer where the loss on the rows that select had stopped falling
    step: int
    decay: float  # the part that weight decay leaves of a word embedding without a gradient, in the tested state
    history: list[dict[str, float]]

    @property
    def converged(self) -> bool | None:
        """Whether more steps were not likely to have given a better state; None where that is not known.

        False where the last checkpoint of the whole budget was selected, and was better than the one before it by the
        metric or by the loss.
        """
        looked = [entry for entry in self.history if "dev_loss" in entry]
        if len(looked) < 2:
            return None
        before, last = looked[-2:]
        better = last["dev_score"] > before["dev_score"] or last["dev_loss"] < before["dev_loss"]
        return not (self.step == self.planned and better)


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
    first: int | None = None,
) -> Fitted:
    """Train `module` in place by the method's loss; it ends in the state that the policy selects.

    last: the final state. average-last and average-all: the mean of the weights at the last checkpoints, or at all (of
    the last phase). source-dev and oracle-target-dev: the checkpoint with the best metric by `evaluate` (ties: the
    lower loss, then the earlier), among those of the method's last phase. With a `checkpoint`, what an earlier process
    left there is where training begins, and what the next step depends on is kept there now and then. Raises Diverged
    where the loss is not a number, OutOfMemory where a batch does not fit, NotSupported where nothing trains.

    Where dev is looked at, training ends past `training.least_steps` once the dev loss has not fallen for
    `training.patience` checkpoints.

    With each of the method's phases the optimiser and its schedule begin anew.

    `first`: the number of rows that are trained on alone before the others are, each for as many steps as so many rows
    are given; then only the others' checkpoints are selected from.
    """
    trained, device = trained_parameters(module), session.device
    if not trained:
        raise NotSupported(nothing_trains(method))
    if first is not None and method.phases:
        raise NotSupported(f"method {method.name} has phases of its own; use --target-mode joint")
    lengths = [
        training.planned_steps(rows) for rows in ([len(shots)] if first is None else [first, len(shots) - first])
    ]
    steps = sum(lengths)
    begun = [bisect_left(range(steps), share, key=lambda step: step / steps) for share in (0.0, *method.phases)]
    phases = [*begun, steps]  # the steps between which each is
    last_phase = max(phases[-2], steps - lengths[-1])
    checkpoints = {round(steps * (number + 1) / training.checkpoints) for number in range(training.checkpoints)} - {0}
    kind = torch.optim.AdamW if training.optimiser == "adamw" else torch.optim.Adam
    optimiser = kind(method.parameter_groups(module, training), weight_decay=training.weight_decay, fused=True)
    patience = training.patience or math.inf
    course = _Course(module, trained, optimiser, selection, training.average_last, device)
    rates, words = [group["lr"] for group in optimiser.param_groups], method.backbone.word_embeddings()
    has_words = [any(value is words for value in group["params"]) for group in optimiser.param_groups]
    if checkpoint is not None and (state := checkpoint.read()) is not None:
        course.resume(*state)
    size, parts_a_step = training.batch_size, training.accumulate
    change = None if first is None else (first, lengths[0])
    batches = training_steps(method, shots, streams, size, seed, device, parts_a_step, course.step, change)
    module.train()
    with session.progress.stage("train", steps):
        if course.step:
            session.progress.step(course.step)
        for step in range(course.step + 1, steps + 1):
            looked = course.step in checkpoints and course.step >= last_phase + training.least_steps
            if looked and course.waited(last_phase) >= patience:
                break
            parts = next(batches)
            method.progress = (step - 1) / steps
            phase = bisect_left(phases, step) - 1
            if phase and step - 1 == phases[phase]:
                optimiser.state.clear()
                session.meters["training"].begin()
                method.begin(phase)
            share = training.rate(step - phases[phase], phases[phase + 1] - phases[phase])
            for rate, group in zip(rates, optimiser.param_groups, strict=True):
                group["lr"] = rate * share
            loss = torch.zeros((), device=device)
            with said_if_short(partial(_too_large, method, parts[0], session)):
                optimiser.zero_grad(set_to_none=True)
                for batch in parts:
                    with session.meters["training"].step(batch):
                        with autocast(device, session.precision):
                            part = _loss(method, batch) / len(parts)
                        part.backward()
                    loss = loss + part.detach()
                if training.clip:
                    nn.utils.clip_grad_norm_(trained.values(), training.clip)
                optimiser.step()
            for group in itertools.compress(optimiser.param_groups, has_words):  # one, or none
                course.decay *= 1.0 - group["lr"] * group["weight_decay"]
            course.losses.append(loss)
            course.step = step
            facts: dict[str, float] = {}
            if step in checkpoints:
                facts["loss"] = _mean(course.losses, method.name, step)
                course.losses.clear()
                if selection in {"source-dev", "oracle-target-dev"}:
                    module.eval()
                    with session.watch.stage("evaluation"):
                        facts["dev_score"], facts["dev_loss"] = evaluate()
                    module.train()
                course.history.append({"step": step, **facts})
                if step > last_phase or step == steps:
                    course.keep(facts)
            session.progress.step(1, **facts)
            if checkpoint is not None and (checkpoint.due or (step == steps and checkpoint.there)):
                checkpoint.write(course.tensors(), course.facts())
    module.eval()
    return Fitted(steps, course.step, *course.select(), course.history)


@dataclass
class _Course:
    """What the next step depends on, beside the data, and the states among which the selection policy chooses: all that
    a checkpoint holds.

    The order of the data and the learning rates are not in it: they follow from the seed and the step.
    """

    module: nn.Module
    trained: Mapping[str, nn.Parameter]
    optimiser: torch.optim.Optimizer
    selection: Selection
    last: int  # how many states `average-last` takes the mean of
    device: torch.device
    step: int = 0
    decay: float = 1.0  # what weight decay alone has left so far of a weight in the word embeddings' group
    history: list[dict[str, float]] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)  # since the last entry of the history
    best: tuple[float, ...] | None = None
    averaged: int = 0  # how many checkpoints the one state of `average-all` is the mean of
    states: list[tuple[int, float, State]] = field(default_factory=list)  # step, decay, and weights but for `last`

    def waited(self, begin: float) -> int:
        """Checkpoints since the lowest dev loss among those past the step `begin`; 0 where dev is not looked at."""
        losses = [entry["dev_loss"] for entry in self.history if "dev_loss" in entry and entry["step"] > begin]
        return len(losses) - 1 - losses.index(min(losses)) if losses else 0

    def keep(self, facts: Mapping[str, float]) -> None:
        """A checkpoint is reached; `facts` holds dev_score and dev_loss where the policy asks for them."""
        if self.selection in {"source-dev", "oracle-target-dev"}:
            rank = (facts["dev_score"], -facts["dev_loss"])
            if self.best is not None and rank <= self.best:
                return
            self.best = rank
        if self.selection == "average-all":
            self._add()
            return
        most = self.last if self.selection == "average-last" else 1
        state = self.states.pop(0)[2] if len(self.states) == most else {}  # its memory serves again
        if self.selection != "last":
            for name, value in self.trained.items():
                if name not in state:
                    state[name] = torch.empty_like(value)
                state[name].copy_(value.detach())
        self.states.append((self.step, self.decay, state))

    def _add(self) -> None:
        """Keep the mean of the weights of this checkpoint and of those before it, and of their decays."""
        self.averaged += 1
        decay, mean = self.states[0][1:] if self.states else (self.decay, {})
        for name, value in self.trained.items():
            if name not in mean:
                mean[name] = value.detach().clone()
            else:
                mean[name] += (value.detach() - mean[name]) / self.averaged
        self.states = [(self.step, decay + (self.decay - decay) / self.averaged, mean)]

    def select(self) -> tuple[int, float]:
        """Put the selected state back; its step (the last of those that were averaged) and its decay."""
        with torch.no_grad():
            for name, value in self.trained.items():
                if self.selection != "last":
                    value.copy_(torch.stack([state[name] for _, _, state in self.states]).mean(dim=0))
        return self.states[-1][0], sum(decay for _, decay, _ in self.states) / len(self.states)

    def tensors(self) -> State:
        """Weights, buffers, moments, kept states, losses, and the states of the generators that dropout draws from."""
        tensors = self._in_module()
        for number, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{number}/{name}": value for name, value in moments.items()}
        for number, (_, _, state) in enumerate(self.states):
            tensors |= {f"kept/{number}/{name}": value for name, value in state.items()}
        if self.losses:
            tensors["losses"] = torch.stack(self.losses)
        tensors["random/cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random/cuda"] = torch.cuda.get_rng_state(self.device)
        return tensors

    def facts(self) -> dict[str, Any]:
        """What is no tensor."""
        facts = {name: getattr(self, name) for name in ("step", "decay", "history", "best", "averaged")}
        return {**facts, "kept": [[step, decay] for step, decay, _ in self.states]}

    def resume(self, tensors: State, facts: Mapping[str, Any]) -> None:
        """Take up what `tensors` and `facts` gave."""
        with torch.no_grad():
            for name, value in self._in_module().items():
                value.copy_(tensors[name])
        moments: dict[int, State] = defaultdict(dict)
        weights: dict[int, State] = defaultdict(dict)
        for key, value in tensors.items():
            kind, _, rest = key.partition("/")
            number, _, name = rest.partition("/")
            if kind == "optimiser":
                moments[int(number)][name] = value
            elif kind == "kept":
                weights[int(number)][name] = value.to(self.device)
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": dict(moments)})
        self.step, self.decay, self.history = facts["step"], facts["decay"], facts["history"]
        self.averaged = facts["averaged"]
        self.best = facts["best"] and tuple(facts["best"])
        self.states = [(step, decay, weights[number]) for number, (step, decay) in enumerate(facts["kept"])]
        self.losses = list(tensors["losses"].to(self.device)) if "losses" in tensors else []
        torch.set_rng_state(tensors["random/cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random/cuda"], self.device)

    def _in_module(self) -> State:
        weights: State = {f"weight/{name}": value for name, value in self.trained.items()}
        return weights | {f"buffer/{name}": value for name, value in self.module.named_buffers()}


class Movement:
    """Made before training; afterwards it says how far each part has moved.

    Parts are the backbone, its adapters, and what the method adds, each by its name in the module that `build` gave.
    Only what is drawn anew is copied here: the backbone's weights are compared with `clean`, from which they came.
    """

    def __init__(self, method: Method, module: nn.Module, clean: Backbone) -> None:
        self.method, self.module, self.clean = method, module, clean
        old, inside = method.backbone.pretrained(), set(map(id, method.backbone.parameters()))
        self.adapters = {name for name, value in module.named_parameters() if id(value) in inside - old}
        self.fresh = {
            name: value.detach().clone() for name, value in trained_parameters(module).items() if id(value) not in old
        }

    def of_parts(self) -> dict[str, float]:
        """Part → |end − start| / max(|start|, |end|), the norms over all its weights that train; 0 to 2."""
        sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
        with torch.no_grad():
            for part, start, end in self._pairs():
                for place, value in enumerate((end - start, start, end)):
                    sums[part][place] += float(value.float().square().sum())
        return {
            part: round((moved / max(start, end)) ** 0.5, 6) if max(start, end) else 0.0
            for part, (moved, start, end) in sums.items()
        }

    def untrained(self) -> list[str]:
        """The parts drawn anew that hardly moved, in sentences."""
        fresh = {self._part(name) for name in self.fresh}
        return [
            f"untrained: {part} moved by {100 * moved:.2g} % of its norm, so it is what it was drawn; a larger "
            "fresh_learning_rate or more steps would train it"
            for part, moved in self.of_parts().items()
            if part in fresh and moved < UNTRAINED
        ]

    def _pairs(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Of each weight that trains: its part, as it was, and as it is."""
        now = dict(self.module.named_parameters())
        for name, start in self.fresh.items():
            yield self._part(name), start, now[name]
        clean = dict(self.clean.named_parameters())
        for name, value in self.method.backbone.named_parameters():
            if value.requires_grad and name in clean:
                yield "backbone", clean[name].to(value.device), value

    def _part(self, name: str) -> str:
        return "adapters" if name in self.adapters else name.partition(".")[0]


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
    change: tuple[int, int] | None = None,
) -> Iterator[list[Batch]]:
    """The batch of each step without end, less the first `skip`, in `accumulate` parts that are alike in numbers.

    A mean over the rows of a batch is then the mean of those over its parts. Where some rows make no equal parts (at
    the end of an epoch), there are fewer. `change`: (rows, steps) of which the first are trained on alone, for so many
    steps, before the rows behind them.
    """
    pad = method.backbone.tokenizer.pad_token_id
    group_of = {name: "" if stream.aligned else stream.group or name for name, stream in streams.items()}
    orders = {"": _order(len(shots), size, seed, "shots")}
    if change is not None:
        first, steps = change
        before = itertools.islice(_order(first, size, seed, "shots"), steps)
        behind = (first + rows for rows in _order(len(shots) - first, size, seed, "target shots"))
        orders[""] = itertools.chain(before, behind)
    for name, stream in streams.items():
        rows = stream.rows_a_step or size
        orders.setdefault(group_of[name], _order(len(stream.encoded), rows, seed, group_of[name]))
    versions = {name: (stream.encoded, *stream.others) for name, stream in streams.items()}
    randoms = {name: generator(seed, f"which of {name}") for name, several in versions.items() if len(several) > 1}
    for number in itertools.count():
        chosen = {group: next(order) for group, order in orders.items()}
        drawn = {name: int(random.integers(len(versions[name]))) for name, random in randoms.items()}
        if number < skip:
            continue
        common = math.gcd(*map(len, chosen.values()))
        parts = max(number for number in range(1, accumulate + 1) if common % number == 0)
        split = {group: np.split(rows, parts) for group, rows in chosen.items()}
        batches = []
        for part in range(parts):
            extra = {
                name: collate(several[drawn.get(name, 0)], split[group_of[name]][part], pad, device)
                for name, several in versions.items()
            }
            batches.append(collate(shots, split[""][part], pad, device).with_streams(extra))
        yield batches


def rows_seen(streams: Mapping[str, Stream], size: int, steps: int) -> dict[str, int]:
    """How many different rows of each group of streams so many steps read; those beside the shots are not counted."""
    return {
        stream.group or name: min(len(stream.encoded), steps * (stream.rows_a_step or size))
        for name, stream in streams.items()
        if not stream.aligned
    }


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
    """What the method minimises. Raises XlbenchError where it is no single number, or has too few logits for it."""
    try:
        loss: object = method.loss(batch)
    except IndexError:  # as torch's cross-entropy for an answer beyond the logits
        with torch.no_grad():
            method.arranged_logits(batch)
        raise
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        what = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)[:80]
        raise XlbenchError(f"method {method.name}: loss gave {what}; it must give a scalar tensor")
    return loss


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
