"""Distillation on parallel text: its term by hand, its limits to the bit, and a teacher that is kept."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import xlbench
from xlbench import registry
from xlbench.engine.train import generator, training_batches
from xlbench.method import Resources
from xlbench.methods.distil import DistilConfig, weighed
from xlbench.records.store import Store
from xlbench.spec import RunSpec, Runtime, Training

CPU = torch.device("cpu")
BOTH = ("distil", "distil-prompt")


def made(name, backbone, task, languages=("en", "fr", "zh"), **config):
    torch.manual_seed(0)
    method_class = registry.get("method", name)
    method = method_class(method_class.Config(**config), backbone, task, languages, 64)
    method.module = method.build(backbone, task)
    return method


def step(method, task, languages=("fr", "zh"), size=6, sides=lambda pair: pair):
    pairs = {language: [sides(pair) for pair in task.parallel_pairs(language, 8, None)] for language in languages}
    given = Resources(task.draw(4, 0, None).train, generator(0, "resources"), {"parallel": pairs})
    return next(training_batches(method, method.encode_labelled(given.shots), method.streams(given), size, 0, CPU))


def run(folder, method, tune="all", **config):
    """Log-probabilities and the record of a run of a few steps, with dropout where the method has it."""
    spec = RunSpec(
        method=method, task="logic", model="tiny", shots=4, languages=("en", "fr", "sw"), test_units=6,
        selection="last", config=config, tune=tune, training=Training(steps=8, batch_size=4, checkpoints=2),
    )  # fmt: skip
    record = xlbench.run(spec, Runtime(runs=folder, device="cpu"))
    table = Store(folder).predictions(record.id)
    names = [name for name in table.column_names if name.startswith("log")]
    return np.array([table.column(name).to_numpy() for name in names]), record


# By hand


def logs(*rows):
    return torch.tensor(rows).log()


def test_the_divergence_by_hand():
    found = weighed(logs((0.8, 0.1, 0.1)), logs((0.6, 0.3, 0.1)), DistilConfig())
    assert found.item() == pytest.approx(0.1203, abs=5e-5)
    assert weighed(logs((0.8, 0.1, 0.1)), logs((0.8, 0.1, 0.1)), DistilConfig()).item() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize(("exponent", "factor"), [(0, 1), (2, 9)])
def test_the_weight_and_the_factor_of_the_temperature(exponent, factor):
    settings = DistilConfig(alpha=0.5, temperature=3.0, exponent=exponent)
    found = weighed(logs((0.8, 0.1, 0.1)), logs((0.6, 0.3, 0.1)), settings)
    assert found.item() == pytest.approx(0.5 * factor * 0.12028, rel=1e-3)


def test_pairs_of_which_the_teacher_is_unsure_do_not_count():
    ours, theirs = logs((0.8, 0.1, 0.1), (0.5, 0.3, 0.2)), logs((0.6, 0.3, 0.1), (0.1, 0.1, 0.8))
    assert weighed(ours, theirs, DistilConfig(confidence=0.6)).item() == pytest.approx(0.1203 / 2, abs=5e-5)
    assert weighed(ours, theirs, DistilConfig(confidence=0.9)).item() == 0


distributions = st.lists(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), min_size=2, max_size=2)


@given(
    ours=st.lists(distributions, min_size=2, max_size=2),
    theirs=st.lists(distributions, min_size=2, max_size=2),
    confidence=st.floats(0, 0.99),
    alpha=st.floats(0, 3),
)
def test_the_term_is_never_negative_and_the_mean_of_those_of_a_batch_s_halves(ours, theirs, confidence, alpha):
    settings = DistilConfig(confidence=confidence, alpha=alpha)
    log_p, log_q = (torch.tensor(side).log().log_softmax(-1) for side in (ours, theirs))
    halves = [weighed(*sides, settings).item() for sides in zip(log_p, log_q, strict=True)]
    whole = weighed(log_p.flatten(0, 1), log_q.flatten(0, 1), settings).item()
    assert whole == pytest.approx(sum(halves) / 2, rel=1e-4, abs=1e-6)
    assert whole >= -1e-6


@pytest.mark.parametrize("name", BOTH)
def test_the_temperature_divides_both_sides(tiny, logic, name):
    method, other = (made(name, tiny.fresh(), logic, temperature=value, **dry(name)) for value in (1.0, 2.0))
    batch = step(method, logic)
    hot, cold = (one._distribution(batch.streams["source"], False) for one in (other, method))
    torch.testing.assert_close(hot, (cold / 2).log_softmax(-1))


def dry(name):
    return {"head_dropout": 0.0} if name == "distil" else {}


@pytest.mark.parametrize("name", BOTH)
def test_a_pair_of_twice_the_same_text_teaches_nothing(tiny, logic, name):
    method = made(name, tiny.fresh(), logic, **dry(name))
    alone = made(name, tiny.fresh(), logic, alpha=0.0, **dry(name))
    same = step(method, logic, sides=lambda pair: type(pair)(pair.id, pair.language, pair.source, pair.source))
    assert method.loss(same).item() == pytest.approx(alone.loss(same).item(), abs=1e-6)
    other = step(method, logic)
    assert method.loss(other).item() > alone.loss(other).item() + 1e-6


def test_no_gradient_goes_through_the_teacher(tiny, logic):
    method = made("distil", tiny.fresh(), logic, head_dropout=0.0)
    batch = step(method, logic)
    ours = method._distribution(batch.streams["source"], True)
    theirs = method._distribution(batch.streams["target"], False)
    ours.retain_grad()
    weighed(ours.detach(), theirs, method.config).backward()
    assert ours.grad is None
    assert method.head[1].weight.grad is not None


# Limits


def test_on_a_soft_prompt_it_is_mpt_with_the_identity_translator_to_the_bit(tmp_path):
    ours, _ = run(tmp_path, "distil-prompt", alpha=0.5)
    theirs, _ = run(tmp_path, "mpt", translator="identity", alpha=0.5)
    assert ours.size
    assert np.array_equal(ours, theirs)
    assert not np.array_equal(ours, run(tmp_path, "soft-prompt")[0])


@pytest.mark.parametrize(("name", "base"), [("distil", "finetune"), ("distil-prompt", "soft-prompt")])
@pytest.mark.parametrize("teacher", ["joint", "frozen"])
def test_without_the_term_it_is_what_it_stands_on_to_the_bit(tmp_path, name, base, teacher):
    assert np.array_equal(run(tmp_path, name, alpha=0.0, teacher=teacher)[0], run(tmp_path, base)[0])


# A teacher that is kept


@pytest.mark.parametrize("name", BOTH)
def test_a_frozen_teacher_is_the_model_when_the_second_phase_begins(tiny, logic, name):
    method = made(name, tiny.fresh(), logic, teacher="frozen", teacher_at=0.4, **dry(name))
    alone = made(name, tiny.fresh(), logic, alpha=0.0, **dry(name))
    batch = step(method, logic)
    assert method.phases == (0.4,)
    method.progress = 0.3
    assert method.loss(batch).item() == pytest.approx(alone.loss(batch).item())
    method.begin(1)
    before = method._distribution(batch.streams["source"], True)
    torch.testing.assert_close(before, method._distribution(batch.streams["source"], False), atol=1e-6, rtol=1e-5)
    with torch.no_grad():
        for value in method.reader.parameters():
            value.mul_(0.9)
    torch.testing.assert_close(method._distribution(batch.streams["source"], True), before)
    assert (method._distribution(batch.streams["source"], False) - before).abs().max() > 1e-3
    method.progress = 0.4
    assert method.loss(batch).item() != pytest.approx(alone.loss(batch).item(), abs=1e-4)


def test_a_frozen_teacher_reads_without_dropout_and_the_pupil_with_it(tiny, logic):
    method = made("distil", tiny.fresh(), logic, teacher="frozen")
    batch = step(method, logic).streams["source"]
    method.begin(1)
    method.module.train()
    once, again = (method._distribution(batch, True) for _ in range(2))
    assert torch.equal(once, again)
    assert all(part.training for part in method.module["head"])
    assert not torch.equal(method._distribution(batch, False), method._distribution(batch, False))
    method.module.eval()
    assert torch.equal(method._distribution(batch, True), once)
    assert not method.module.training


def test_a_teacher_that_was_never_kept_is_said_and_says_nothing(tmp_path):
    _, record = run(tmp_path, "distil", teacher="frozen", teacher_at=0.95)  # of 8 steps
    assert "measures" not in record.learnt
    assert "nothing was distilled: `teacher_at` leaves no step behind it; ask for more steps" in record.notes


@pytest.mark.parametrize("tune", ["all", "lora"])
def test_a_run_with_a_kept_teacher_ends_and_tells_what_it_said(tmp_path, tune):
    _, record = run(tmp_path, "distil", tune, teacher="frozen")
    measures = record.learnt["measures"]
    assert 0 < measures["teacher's entropy"] <= math.log(3) + 1e-6
    assert sum(share for name, share in measures.items() if "share" in name) == pytest.approx(1)


def test_a_language_without_pairs_is_named(tiny, logic):
    method = made("distil", tiny.fresh(), logic)
    step(method, logic, languages=("fr",))
    assert method.notes == ["no parallel pairs for zh: nothing is distilled into it"]
