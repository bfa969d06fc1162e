"""The training loop: budget, order of the shots, selection policies, and what is not counted as training."""

from collections import Counter
from contextlib import suppress

import numpy as np
import pytest
import torch
from small_data import ON_TINY, resources_of
from torch import nn

from xlbench import registry
from xlbench.engine.session import Session, Stopwatch
from xlbench.engine.train import fit, generator, training_batches, training_steps
from xlbench.errors import XlbenchError
from xlbench.method import Method, Resources, Stream
from xlbench.prompts import Encoded
from xlbench.sources import DataSource
from xlbench.spec import ResolvedTraining, RunSpec, Training

CPU = torch.device("cpu")


class Counting(Method):
    """One weight w, drawn anew, whose gradient is `slope`: with AdamW at rate 1 and no decay it falls by 1 a step."""

    name = "counting"
    slope = 1.0

    def build(self, backbone, task):
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen: list[list[int]] = []
        self.modes: list[bool] = []
        self.module = nn.ParameterDict({"weight": self.weight})
        return self.module

    def loss(self, batch):
        self.seen.append(batch.ids[:, 0].tolist())
        self.modes.append(self.module.training)
        return (self.slope * self.weight).sum()


def rows(count: int) -> Encoded:
    """Row i is the one token i."""
    zeros = np.zeros(count, dtype=np.int64)
    return Encoded([np.array([number]) for number in range(count)], zeros, zeros, zeros, zeros)


def train(tiny, logic, selection="last", scripted=(), shots=4, seed=0, slope=1.0, watch=None, **settings):
    """A fitted Counting method, and the steps at which `evaluate` was called with the weight it saw."""
    method = Counting(Counting.Config(), tiny, logic, ("en",))
    module = method.build(tiny, logic)
    method.slope = slope
    script, called = iter(scripted), []

    def evaluate():
        called.append((len(method.seen), method.weight.item(), module.training))
        return next(script)

    plain = {"learning_rate": 9.0, "fresh_learning_rate": 1.0, "weight_decay": 0.0, "batch_size": 2}
    budget = {"least_steps": 1, "patience": 0, "checkpoints": 10}
    training = ResolvedTraining(**{**plain, **budget, **settings})
    session = Session(CPU, watch=watch or Stopwatch())
    fitted = fit(method, module, rows(shots), {}, evaluate, training, selection, seed, session)
    return method, fitted, called


# Selection


def test_last_keeps_the_final_state_and_never_looks_at_dev(tiny, logic):
    method, fitted, called = train(tiny, logic, "last", steps=6, checkpoints=3)
    assert method.weight.item() == pytest.approx(-6)
    assert (fitted.planned, fitted.steps, fitted.step, called) == (6, 6, 6, [])
    assert fitted.converged is None
    assert [entry["step"] for entry in fitted.history] == [2, 4, 6]
    assert all("dev_score" not in entry for entry in fitted.history)


@pytest.mark.parametrize(
    ("scripted", "step"),
    [
        ([(0.5, 1.0), (0.7, 2.0), (0.6, 0.1)], 4),  # the best accuracy, whatever the loss
        ([(0.7, 1.0), (0.7, 0.9), (0.6, 0.1)], 4),  # a tie: the lower loss
        ([(0.7, 0.9), (0.7, 1.0), (0.7, 0.9)], 2),  # a tie in both: the earlier
        ([(0.1, 1.0), (0.2, 1.0), (0.3, 1.0)], 6),
    ],
)
@pytest.mark.parametrize("selection", ["source-dev", "oracle-target-dev"])
def test_dev_selection_restores_the_best_checkpoint(tiny, logic, selection, scripted, step):
    method, fitted, called = train(tiny, logic, selection, scripted, steps=6, checkpoints=3)
    assert fitted.step == step
    assert method.weight.item() == pytest.approx(-step)
    assert [(done, training) for done, _, training in called] == [(2, False), (4, False), (6, False)]
    assert [weight for _, weight, _ in called] == pytest.approx([-2, -4, -6])
    assert [(entry["dev_score"], entry["dev_loss"]) for entry in fitted.history] == scripted
    assert all(method.modes)  # every loss was computed in training mode
    assert not method.module.training


@pytest.mark.parametrize(("last", "mean"), [(1, -8), (2, -7), (3, -6), (9, -5)])
def test_average_last_is_the_mean_of_the_weights_at_the_last_checkpoints(tiny, logic, last, mean):
    method, fitted, called = train(tiny, logic, "average-last", steps=8, checkpoints=4, average_last=last)
    assert method.weight.item() == pytest.approx(mean)  # of -2, -4, -6, -8
    assert (fitted.step, called) == (8, [])


# Budget


def test_steps_come_before_epochs(tiny, logic):
    assert train(tiny, logic, steps=3, epochs=50)[1].steps == 3
    assert train(tiny, logic, epochs=3, shots=5)[1].steps == 9  # three batches of 2, 2 and 1
    assert train(tiny, logic, epochs=3, shots=5, batch_size=100)[1].steps == 3


def test_few_shots_are_given_the_least_steps(tiny, logic):
    assert train(tiny, logic, epochs=3, shots=5, least_steps=11)[1].steps == 11
    assert train(tiny, logic, epochs=3, shots=5, least_steps=8)[1].steps == 9
    assert train(tiny, logic, steps=4, least_steps=8)[1].steps == 4  # what is asked for is the most


DEV = [(0.4, 1.0), (0.5, 0.9), (0.5, 0.95), (0.6, 0.96), (0.6, 0.97), (0.6, 0.2)]


@pytest.mark.parametrize(
    ("settings", "made"),
    [
        ({"patience": 0}, 12),
        ({"patience": 1}, 6),  # the third checkpoint is the first without a lower loss
        ({"patience": 2}, 8),
        ({"patience": 3}, 10),
        ({"patience": 4}, 12),
        ({"patience": 1, "least_steps": 9}, 10),  # not before the floor
        ({"patience": 1, "least_steps": 10}, 10),
        ({"patience": 1, "least_steps": 11}, 12),
    ],
)
def test_training_ends_when_the_dev_loss_has_stopped_falling(tiny, logic, settings, made):
    _, fitted, called = train(tiny, logic, "source-dev", DEV, steps=12, checkpoints=6, **settings)
    assert (fitted.planned, fitted.steps, len(called)) == (12, made, made // 2)
    assert fitted.step == {6: 4, 8: 8, 10: 8, 12: 12}[made]  # the best by metric, then loss, of those that were reached


def test_no_patience_ends_a_run_that_looks_at_no_dev(tiny, logic):
    assert train(tiny, logic, "last", steps=12, checkpoints=6, patience=1)[1].steps == 12


def test_no_patience_ends_an_earlier_phase(tiny, logic, monkeypatch):
    monkeypatch.setattr(Counting, "phases", (0.5,))
    _, fitted, _ = train(tiny, logic, "source-dev", DEV, steps=12, checkpoints=6, patience=1)
    assert fitted.steps == 10  # of the last phase's losses, 0.96 and 0.97, the second is not lower


def test_with_a_phase_the_optimiser_and_the_schedule_begin_anew(tiny, logic, monkeypatch):
    begun = []

    def begin(self, phase):
        begun.append((phase, self.progress, self.weight.item()))
        self.slope = -1.0

    monkeypatch.setattr(Counting, "phases", (0.5,))
    monkeypatch.setattr(Counting, "begin", begin)
    method, fitted, _ = train(tiny, logic, steps=8, checkpoints=8, schedule="linear", warmup=0.0)
    (phase, progress, lowest), weights = begun[0], method.weight.item()
    assert (len(begun), phase, progress, fitted.step) == (1, 1, 0.5, 8)
    assert lowest < -2  # the rates of four steps, which fall
    assert weights == pytest.approx(0, abs=1e-6)  # the same rates the other way, without the first phase's moments


@pytest.mark.parametrize(
    ("phases", "steps", "firsts"),
    [((0.5,), 5, [3]), ((0.5,), 4, [2]), ((0.3,), 10, [3]), ((0.25, 0.75), 7, [2, 6]), ((0.4, 0.9), 20, [8, 18])],
)
def test_a_phase_begins_with_the_first_step_whose_progress_has_reached_it(
    tiny, logic, monkeypatch, phases, steps, firsts
):
    """What a loss that asks `progress` does, and what the loop does, begin together."""
    begun = []
    monkeypatch.setattr(Counting, "phases", phases)
    monkeypatch.setattr(Counting, "begin", lambda self, phase: begun.append((phase, self.progress)))
    train(tiny, logic, steps=steps, checkpoints=1)
    assert begun == [(phase, first / steps) for phase, first in enumerate(firsts, 1)]


def test_a_state_of_an_earlier_phase_is_not_averaged(tiny, logic, monkeypatch):
    monkeypatch.setattr(Counting, "phases", (0.5,))
    assert train(tiny, logic, "average-all", steps=8, checkpoints=4)[0].weight.item() == pytest.approx(-7)


@pytest.mark.parametrize(
    ("dev", "converged"),
    [
        ([(0.4, 1.0), (0.5, 0.9)], False),  # the last is the best, and both rise
        ([(0.4, 0.9), (0.5, 1.0)], False),  # it is the best, and the metric rises
        ([(0.5, 1.0), (0.5, 0.9)], False),  # and the loss falls
        ([(0.5, 0.9), (0.4, 0.8)], True),  # an earlier one was chosen
        ([(0.5, 0.9)], None),  # nothing to compare with
    ],
)
def test_a_run_has_converged_unless_its_last_checkpoint_was_chosen_while_dev_improved(tiny, logic, dev, converged):
    fitted = train(tiny, logic, "source-dev", dev, steps=2 * len(dev), checkpoints=len(dev))[1]
    assert fitted.converged is converged


def test_a_run_that_patience_ended_has_converged(tiny, logic):
    dev = [(0.4, 0.5), (0.5, 0.6), (0.6, 0.7), (0.7, 0.8)]
    fitted = train(tiny, logic, "source-dev", dev, steps=8, checkpoints=4, patience=2)[1]
    assert (fitted.steps, fitted.step, fitted.converged) == (6, 6, True)


def test_the_rate_rises_and_falls_as_the_schedule_says():
    linear = Training(warmup=0.2, schedule="linear", final_rate=0.1)
    assert [linear.rate(step, 10) for step in (1, 2, 6, 10)] == pytest.approx([0.5, 1.0, 0.55, 0.1])
    constant = Training(warmup=0.2)
    assert [constant.rate(step, 10) for step in (1, 2, 6, 10)] == [0.5, 1.0, 1.0, 1.0]
    assert [Training().rate(step, 10) for step in (1, 10)] == [1.0, 1.0]


def test_a_short_budget_is_said():
    assert Training(steps=120).too_short(768) == (
        "120 steps of 16 pass 768 rows 2.5 times: fewer than 10, so that methods may not have converged; ask for more "
        "--epochs, or leave --steps out"
    )
    assert Training(steps=480).too_short(768) is None
    assert Training().too_short(12) is None


def test_checkpoints_are_evenly_spaced_and_end_with_the_last_step(tiny, logic):
    def steps(**settings):
        return [entry["step"] for entry in train(tiny, logic, **settings)[1].history]

    assert steps(steps=10, checkpoints=5) == [2, 4, 6, 8, 10]
    assert steps(steps=7, checkpoints=2)[-1] == 7
    assert steps(steps=2, checkpoints=10) == [1, 2]
    assert steps(steps=1, checkpoints=1) == [1]


def test_warmup_raises_the_rate_in_equal_parts(tiny, logic):
    # Of 8 steps half warm up, at 1/4, 2/4, 3/4 and 4/4 of the rate; AdamW's step is the rate here.
    assert train(tiny, logic, steps=8, warmup=0.5)[0].weight.item() == pytest.approx(-(0.25 + 0.5 + 0.75 + 1 + 4))
    assert train(tiny, logic, steps=8, warmup=0.0)[0].weight.item() == pytest.approx(-8)


def test_the_gradient_is_clipped_and_weights_decay(tiny, logic):
    # AdamW decays by rate · decay · w before its step: w1 = -1, w2 = -1 + 0.1 - 1, and so on.
    assert train(tiny, logic, steps=2, weight_decay=0.1)[0].weight.item() == pytest.approx(-1.9)
    method, _, _ = train(tiny, logic, steps=1, slope=1e6, clip=0.5)
    assert method.weight.grad.item() == pytest.approx(0.5)


def test_adam_adds_the_decay_to_the_gradient_and_leaves_out_what_is_not_to_decay(tiny, logic):
    """Adam's first step is the rate, in the sign of gradient + decay · w: of a bias at 5 with gradient -1 and decay 1
    that of 4, or of -1 where biases do not decay. AdamW's would be 5 - 5 + 1."""

    class Biased(Counting):
        def build(self, backbone, task):
            self.bias = nn.Parameter(torch.full((1,), 5.0))
            self.module = nn.ParameterDict({"bias": self.bias})
            return self.module

        def loss(self, batch):
            return -self.bias.sum()

    ends = {}
    for decays in (True, False):
        method = Biased(Biased.Config(), tiny, logic, ("en",))
        module = method.build(tiny, logic)
        training = ResolvedTraining(
            learning_rate=1.0, fresh_learning_rate=1.0, optimiser="adam", weight_decay=1.0, decay_biases=decays,
            steps=1, clip=0.0,
        )  # fmt: skip
        fit(method, module, rows(2), {}, lambda: (0, 0), training, "last", 0, Session(CPU))
        ends[decays] = method.bias.item()
    assert ends == {True: pytest.approx(4.0), False: pytest.approx(6.0)}


@pytest.mark.parametrize("slope", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step(tiny, logic, slope):
    with pytest.raises(XlbenchError, match="method counting: the loss is nan at step 2; try a smaller learning rate"):
        train(tiny, logic, steps=6, checkpoints=3, slope=slope)


@pytest.mark.parametrize(
    ("tune", "sentence"),
    [("frozen", "has nothing to train with --tune frozen; use all or lora"),
     ("all", "has nothing that trains: no parameter of what its `build` gives has a gradient, and it has no `fit`")],
)  # fmt: skip
def test_a_method_with_nothing_to_train_is_refused(tiny, logic, tune, sentence):
    method = Counting(Counting.Config(), tiny.fresh(tune), logic, ("en",))
    module = method.build(tiny, logic).requires_grad_(False)
    with pytest.raises(XlbenchError, match=f"method counting {sentence}"):
        fit(method, module, rows(2), {}, lambda: (0, 0), ResolvedTraining(learning_rate=1), "last", 0, Session(CPU))


# Order


def test_every_row_comes_once_an_epoch_in_a_new_order(tiny, logic):
    method, _, _ = train(tiny, logic, shots=7, epochs=3)
    assert [len(batch) for batch in method.seen] == [2, 2, 2, 1] * 3
    epochs = [[row for batch in method.seen[4 * e : 4 * e + 4] for row in batch] for e in range(3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def order(tiny, logic, seed: int, streams: dict[str, Stream], batches: int = 6):
    method = Counting(Counting.Config(), tiny, logic, ("en",))
    endless = training_batches(method, rows(6), streams, 4, seed, CPU)
    return [next(endless) for _ in range(batches)]


def test_the_order_of_the_shots_depends_on_the_seed_and_nothing_else(tiny, logic):
    alone = [batch.ids.tolist() for batch in order(tiny, logic, 1, {})]
    beside = [batch.ids.tolist() for batch in order(tiny, logic, 1, {"more": Stream(rows(50))})]
    torch.manual_seed(123)
    np.random.seed(123)
    assert alone == beside == [batch.ids.tolist() for batch in order(tiny, logic, 1, {})]
    assert alone != [batch.ids.tolist() for batch in order(tiny, logic, 2, {})]


def test_an_aligned_stream_gives_the_rows_of_the_shots(tiny, logic):
    for batch in order(tiny, logic, 0, {"same": Stream(rows(6), aligned=True)}):
        assert torch.equal(batch.streams["same"].ids, batch.ids)


def test_streams_of_one_group_share_their_order_and_others_do_not(tiny, logic):
    streams = {
        "ours": Stream(rows(9), group="pairs"),
        "theirs": Stream(rows(9), group="pairs"),
        "other": Stream(rows(9)),
    }
    batches = order(tiny, logic, 0, streams, 3)
    seen = {name: [batch.streams[name].ids.tolist() for batch in batches] for name in streams}
    assert seen["ours"] == seen["theirs"]
    assert seen["ours"] != seen["other"]
    for name in streams:  # batches of 4, 4 and 1: every row once
        assert Counter(row[0] for batch in seen[name] for row in batch) == Counter(range(9))


def test_one_purposes_draws_do_not_shift_anothers():
    assert generator(0, "shots").random() == generator(0, "shots").random()
    numbers = {generator(seed, purpose).random() for seed in range(3) for purpose in ("shots", "resources")}
    assert len(numbers) == 6


# In parts


@pytest.mark.parametrize(
    "method", [name for name in registry.names("method") if not registry.get("method", name).couples_rows]
)
@pytest.mark.parametrize("accumulate", [2, 3, 6])
def test_the_gradient_of_a_batch_is_that_of_its_parts(tiny, logic, method, accumulate):
    """For every shipped loss, a mean over rows of each stream, dropout apart: losses and gradients agree to 1e-5."""
    method_class = registry.get("method", method)
    gradients, losses = [], []
    for parts in (1, accumulate):
        torch.manual_seed(0)
        config = method_class.Config(**ON_TINY.get(method, {}))
        one = method_class(config, tiny.fresh(), logic, ("en", "fr", "zh"))
        module = one.build(one.backbone, logic).eval()
        shots = logic.draw(4, 0, DataSource(None)).train
        loaded = resources_of(method_class, logic, ("en", "fr", "zh"), shots, 12)
        streams = one.streams(Resources(shots, generator(0, "resources"), loaded))
        batches = next(training_steps(one, one.encode_labelled(shots), streams, 12, 0, CPU, parts))
        assert len(batches) == parts
        means = [one.loss(batch) / parts for batch in batches]
        sum(means).backward()
        losses.append(sum(means).item())
        gradients.append({name: value.grad for name, value in module.named_parameters() if value.grad is not None})
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert gradients[0].keys() == gradients[1].keys()
    for name, whole in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], whole, atol=1e-5, rtol=1e-4)


def test_a_step_in_parts_ends_where_a_whole_step_does(tiny, logic):
    whole, parts = (train(tiny, logic, steps=6, batch_size=4, shots=8, accumulate=n) for n in (1, 4))
    assert parts[0].weight.item() == pytest.approx(whole[0].weight.item())
    assert [row for (row,) in parts[0].seen] == [row for batch in whole[0].seen for row in batch]


def test_rows_that_make_no_equal_parts_go_through_in_fewer(tiny, logic):
    method = Counting(Counting.Config(), tiny, logic, ("en",))
    steps = training_steps(method, rows(6), {"more": Stream(rows(8))}, 4, 0, CPU, 4)
    sizes = [[(len(part), len(part.streams["more"])) for part in next(steps)] for _ in range(2)]
    assert sizes == [[(1, 1)] * 4, [(1, 2)] * 2]  # four and four rows, then two and four


def test_a_batch_in_unequal_parts_is_refused_and_one_part_leaves_ids_as_they_were():
    with pytest.raises(ValueError, match="batch_size 16 makes no 3 equal parts"):
        Training(accumulate=3)
    whole, one_part, parts = (
        RunSpec(method="mpt", shots=4, training=training).identity
        for training in ({}, {"accumulate": 1}, {"accumulate": 4})
    )
    assert one_part == whole
    assert parts == {**whole, "training": {"accumulate": 4}}


# Time


class Clock:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr("xlbench.engine.session.time.perf_counter", fake)
    return fake


def test_a_stage_inside_another_is_taken_out_of_it(clock):
    watch = Stopwatch()
    with watch.stage("training"):
        clock.now += 5
        with watch.stage("evaluation"):
            clock.now += 3
            with watch.stage("test"):
                clock.now += 0.5
        clock.now += 2
    clock.now += 100  # between stages nothing is booked
    with watch.stage("training"):
        clock.now += 1
    assert watch.seconds == {"training": 8.0, "evaluation": 3.0, "test": 0.5}


def test_a_stage_that_fails_is_booked_and_left(clock):
    watch = Stopwatch()
    with watch.stage("training"):
        with suppress(KeyError), watch.stage("evaluation"):
            clock.now += 3
            raise KeyError
        clock.now += 2
    assert watch.seconds == {"training": 2.0, "evaluation": 3.0}


def test_training_time_excludes_evaluation(tiny, logic, clock):
    watch = Stopwatch()

    class Slow(list):
        def __iter__(self):
            for item in list.__iter__(self):
                clock.now += 7
                yield item

    with watch.stage("training"):
        clock.now += 1
        train(tiny, logic, "source-dev", Slow([(0.5, 1.0)] * 3), steps=6, checkpoints=3, watch=watch)
    assert watch.seconds == {"training": 1.0, "evaluation": 21.0}
