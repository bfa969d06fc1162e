"""LT-SFT: which weights are chosen, that no other moves, and whose change each row is read with."""

import copy
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import xlbench
from xlbench import registry
from xlbench.batching import collate
from xlbench.engine import train
from xlbench.engine.predict import predict
from xlbench.engine.prepare import prepare
from xlbench.engine.session import Session
from xlbench.engine.train import fit, generator, training_batches
from xlbench.errors import NotSupported, XlbenchError
from xlbench.method import Resources
from xlbench.parts.sparse_changes import Change, Mask, largest
from xlbench.prompts import Encoded
from xlbench.records.store import Store
from xlbench.spec import Lora, ResolvedTraining, RunSpec, Runtime, Training

CPU = torch.device("cpu")
Sparse = registry.get("method", "sparse")
TEXTS = {
    "en": [("a black cat", "it sleeps near the river")] * 3,
    "fr": [("un chat noir", "il dort")] * 3,
    "zh": [("一 只 猫 睡觉",)] * 3,
}
TEXT = {"language_sft": "unlabelled"}


def made(backbone, task, languages=("en", "fr", "zh"), name="sparse", **config):
    torch.manual_seed(0)
    method_class = registry.get("method", name)
    method = method_class(method_class.Config(head_dropout=0.0, **config), backbone, task, languages, 64)
    method.module = method.build(backbone, task)
    return method


def fitted(method, steps=8, selection="last", texts=TEXTS, finish=True, **training):
    """A method as it is after so many steps on a few shots."""
    rows = method.task.draw(2, 0, None).train
    given = Resources(rows, generator(0, "resources"), {"unlabelled": texts})
    shots, streams = method.encode_labelled(rows), method.streams(given)
    settings = {"learning_rate": 1e-3, "batch_size": 4, "checkpoints": 4, "weight_decay": 0.1, **training}
    resolved = ResolvedTraining(steps=steps, **settings)
    method.module.train()
    dev = iter(range(100))
    fit(method, method.module, shots, streams, lambda: (next(dev), 0.0), resolved, selection, 0, Session(CPU))
    if finish:
        method.finish(given)
    return method


def differing(ours, theirs):
    """Where the weights of two modules differ: name → places."""
    clean = dict(theirs.named_parameters())
    return {name: value != clean[name] for name, value in ours.named_parameters() if not value.equal(clean[name])}


def rows_in(method, languages, count=4):
    encoded = method.encode_labelled([row for name in languages for row in method.task.test(name, None)[:count]])
    return collate(encoded, range(len(encoded)), method.backbone.tokenizer.pad_token_id, CPU)


# Which weights


def test_those_that_moved_furthest_are_the_mask():
    assert largest(torch.tensor([0.3, -0.5, 0.1, -0.2]).abs(), 2).tolist() == [True, True, False, False]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.data())
def test_it_is_always_k_and_of_equal_ones_the_first(sizes, data):
    k, numbers = data.draw(st.integers(0, len(sizes))), torch.tensor(sizes, dtype=torch.float32)
    expected = numbers.argsort(descending=True, stable=True)[:k].sort().values
    assert largest(numbers, k).nonzero()[:, 0].tolist() == expected.tolist()


@pytest.mark.parametrize("selection", ["last", "source-dev", "average-last", "average-all"])
def test_k_weights_may_change_and_no_other_has_moved_by_a_bit(tiny, logic, selection):
    """A mean of three equal numbers may be another number, of those that fill all bits; the tiny model's do not."""
    begun = tiny.fresh()
    with torch.no_grad():
        for value in begun.parameters():
            value.add_(1e-3 * torch.rand(value.shape, generator=torch.manual_seed(0)))
    method = fitted(made(copy.deepcopy(begun), logic, density=0.01), selection=selection, checkpoints=8)
    k = round(0.01 * sum(value.numel() for value in method.mask.weights))
    assert method.mask.open.sum() == k
    places = differing(method.backbone, begun)
    assert 0.9 * k < sum(int(place.sum()) for place in places.values()) <= k
    assert not (method.mask.row() != method.mask.start)[~method.mask.open].any()
    assert not any("LayerNorm" in name for name in places)
    assert len(places) > 5  # one threshold for all tensors
    assert method.measures()["weights changed, task"] == sum(int(place.sum()) for place in places.values())


def test_no_other_moves_in_training_either_whatever_the_weight_decay(tiny, logic):
    method = fitted(made(tiny.fresh(), logic, density=0.01), finish=False, weight_decay=0.5)
    assert not (method.mask.row() != method.mask.start)[~method.mask.open].any()


def test_the_mask_is_of_what_moved_furthest_in_the_first_phase(tiny, logic, monkeypatch):
    seen = []
    monkeypatch.setattr(Sparse, "begin", lambda self, phase: (seen.append(self.mask.row()), begin(self, phase)))
    method = fitted(made(tiny.fresh(), logic, density=0.02))
    moved, chosen = (seen[0] - method.mask.start).abs(), method.mask.open
    assert moved[chosen].min() >= moved[~chosen].max()
    assert len(seen) == 1


begin = Sparse.begin


def test_a_phase_begins_with_the_pretrained_weights_and_the_head_as_it_was_drawn(tiny, logic):
    method, fresh = made(tiny.fresh(), logic), made(tiny.fresh(), logic)
    with torch.no_grad():
        for value in method.module.parameters():
            value.add_(torch.randn_like(value) * value.requires_grad)
    method.begin(1)
    assert differing(method.module, fresh.module) == {}


def test_without_density_the_head_alone_trains(tiny, logic):
    method = fitted(made(tiny.fresh(), logic, density=0.0))
    assert differing(method.backbone, tiny) == {}
    assert set(differing(method.head, made(tiny.fresh(), logic).head)) == {"1.weight", "1.bias", "4.weight", "4.bias"}


def test_with_every_weight_in_the_mask_the_second_phase_is_fine_tuning_to_the_bit(tiny, logic, monkeypatch):
    monkeypatch.setattr(train, "_order", lambda rows, *_: itertools.repeat(np.arange(rows)))
    ours = fitted(made(tiny.fresh(), logic, density=1.0, layer_norms=True), weight_decay=0.0)
    theirs = fitted(made(tiny.fresh(), logic, name="finetune"), steps=4, weight_decay=0.0)
    assert differing(ours.module["encoder"], theirs.module["encoder"]) == {}
    assert differing(ours.head, theirs.head) == {}
    other = fitted(made(tiny.fresh(), logic, density=0.05, layer_norms=True), weight_decay=0.0)
    assert differing(other.head, theirs.head) != {}


def test_the_masks_places_are_those_of_tensors_one_after_the_other():
    first, second = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(3))
    mask = Mask([first, second])
    mask.open.copy_(torch.tensor([0, 1, 0, 0, 1, 0, 1]))
    (first.sum() + 2 * second.sum()).backward()
    assert first.grad.tolist() == [[0, 1], [0, 0]]
    assert second.grad.tolist() == [2, 0, 2]


# Changes


def change(place, start, added):
    made = Change(len(place))
    made.place, made.start, made.added = torch.tensor(place), torch.tensor(start), torch.tensor(added)
    return made


def test_a_change_is_taken_out_and_another_put_in_and_all_is_as_before():
    first, second = nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]])), nn.Parameter(torch.tensor([5.0, 6.5, 7.0]))
    mask = Mask([first, second])
    source = change([1, 5], [1.5, 6.0], [0.5, 0.25])  # 2 = 1.5 + 0.5; 6.5 = 6 + 0.25 and the task's 0.25
    target = change([0, 1, 6], [1.0, 1.5, 7.0], [10.0, 20.0, 30.0])
    with mask.changed(source, target):
        assert first.tolist() == [[11.0, 21.5], [3.0, 4.0]]
        assert second.tolist() == [5.0, 6.25, 37.0]
    assert mask.row().tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.5, 7.0]
    with mask.changed(None, None):
        assert mask.row().tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.5, 7.0]


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=8, max_size=8), st.permutations(range(8)))
def test_disjoint_changes_commute_and_leave_nothing_behind(numbers, order):
    weights = nn.Parameter(torch.tensor(numbers[::-1]))
    mask, (ours, theirs) = Mask([weights]), (sorted(order[:4]), sorted(order[4:]))
    both = [change(at, [0.0] * 4, [numbers[place] for place in at]) for at in (ours, theirs)]
    found = []
    for one, other in (both, both[::-1]):
        with mask.changed(None, one), mask.changed(None, other):
            found.append(mask.row())
    assert found[0].equal(found[1])
    assert mask.row().equal(mask.start)


def test_a_weight_that_only_the_source_changed_is_pretrained_again_to_the_bit():
    torch.manual_seed(0)
    start, added = torch.randn(200), 0.01 * torch.randn(200)
    mask = Mask([nn.Parameter(start + added)])
    source = change(list(range(200)), start.tolist(), added.tolist())
    with mask.changed(source, None):
        assert mask.row().equal(start)


# Languages


def test_each_language_has_two_phases_and_then_the_task(tiny, logic):
    method = made(tiny.fresh(), logic, language_share=0.6, full_share=0.25, **TEXT)
    assert method.phases == (0.25,)  # nothing is known to be read yet
    method.read = ["en", "fr"]
    assert method.phases == pytest.approx((0.075, 0.3, 0.375, 0.6, 0.7))
    assert made(tiny.fresh(), logic).phases == (0.5,)


def test_languages_read_their_text_in_turn_and_the_head_waits(tiny, logic):
    method = made(tiny.fresh(), logic, **TEXT)
    rows = logic.draw(2, 0, None).train
    streams = method.streams(Resources(rows, generator(0, "resources"), {"unlabelled": TEXTS}))
    assert {name: set(stream.encoded.language) for name, stream in streams.items()} == {
        name: {logic.languages.index(name)} for name in ("en", "fr", "zh")
    }
    batch = next(training_batches(method, method.encode_labelled(rows), streams, 4, 0, CPU))
    asked = []
    for progress in (0.0, 0.2, 0.4, 0.6):
        method.progress = progress
        method.loss(batch.with_streams({name: Watched(asked, name, part) for name, part in batch.streams.items()}))
    assert asked == ["en", "fr", "zh"]


class Watched:
    """A batch that tells whose it is when it is read."""

    def __init__(self, asked, name, batch):
        self._asked, self._name, self._batch = asked, name, batch

    def __getattr__(self, name):
        if name == "with_ids":
            self._asked.append(self._name)
        return getattr(self._batch, name)


def test_a_row_is_read_with_the_tasks_change_and_its_languages(tiny, logic):
    """θ0 + φ of the task + φ of the language, computed here from whole tensors."""
    method = fitted(made(tiny.fresh(), logic, language_density=0.05, **TEXT), steps=16)
    start, end = method.mask.start, method.mask.row()
    dense = {name: torch.zeros_like(start) for name in method.read}
    for name in method.read:
        own = method.changes[name]
        assert own.place.unique().numel() == len(own.place) == round(0.05 * len(start))
        dense[name][own.place] = own.added
        assert own.added.count_nonzero() > 0
    task = end - (start + dense["en"])
    assert task[~method.mask.open].count_nonzero() == 0
    composed = made(tiny.fresh(), logic, **TEXT)
    composed.head.load_state_dict(method.head.state_dict())
    method.module.eval(), composed.module.eval()
    for language in ("en", "fr", "zh"):
        composed.mask.put(start + dense[language] + task)
        with torch.no_grad():
            assert torch.allclose(
                method.logits(rows_in(method, [language])), composed.logits(rows_in(method, [language])), atol=1e-5
            )
    composed.mask.put(end)
    with torch.no_grad():  # and that is not what the source is read with
        french = rows_in(method, ["fr"])
        assert not torch.allclose(method.logits(french), composed.logits(french), atol=1e-4)


def test_a_batch_of_several_languages_is_scored_as_each_alone_and_the_weights_stay(tiny, logic):
    method = fitted(made(tiny.fresh(), logic, **TEXT), steps=16)
    before = method.mask.row()
    with torch.inference_mode():
        alone = torch.cat([method.score(rows_in(method, [name])) for name in ("zh", "en", "fr")])
        mixed = rows_in(method, ("zh", "en", "fr"))
        assert torch.allclose(method.score(mixed), alone, atol=1e-5)
        order = torch.randperm(len(mixed), generator=torch.manual_seed(1))
        sides = {side: getattr(mixed, side)[order] for side in ("ids", "attention", "segments", "read_at", "language")}
        assert torch.allclose(method.score(replace(mixed, **sides)), alone[order], atol=1e-5)
    assert method.mask.row().equal(before)


@pytest.mark.parametrize("name", ["probe-choice", "probe-names"])
def test_choices_and_words_are_scored_as_in_batches_of_one_language(tiny, own_registry, name):
    registry.load_plugin(str(Path(__file__).parents[1] / "probes.py"))
    method = made(tiny.fresh(), registry.get("task", name)(), ("en", "fr", "sw"), language_density=0.2, **TEXT)
    method.module.eval()
    method.read = ["en", "fr"]
    for seed, language in enumerate(method.read):
        method.mask.open.fill_(False)
        method.mask.open[seed : 5 * len(method.changes[language].place) : 5] = True
        method.mask.put(method.mask.base() + 0.05 * torch.randn(len(method.mask.open)) * method.mask.open)
        method.mask.keep(method.changes[language])
    method.mask.put(method._base(2))
    encoded = Encoded.join([method.encode_labelled(method.task.test(one, None)[:6]) for one in ("sw", "fr", "en")])
    together, alone = (predict(method, encoded, Session(CPU, token_budget=budget)) for budget in (9999, 1))
    assert np.allclose(together, alone, atol=1e-4)
    method.read = ["en"]
    assert not np.allclose(predict(method, encoded, Session(CPU, token_budget=9999)), alone, atol=1e-3)


def test_a_languages_phases_leave_its_change_and_nothing_else(tiny, logic):
    """The decoder is held, its own head begins anew, and the task begins with the source's change alone."""
    method = fitted(made(tiny.fresh(), logic, **TEXT), steps=16)
    clean = tiny.fresh()
    assert not any(value.requires_grad for value in method.backbone.decoder.parameters())
    assert method.backbone.decoder.weight.equal(clean.decoder.weight)
    assert all(
        ours.equal(theirs)
        for ours, theirs in zip(method.backbone.transform.parameters(), clean.transform.parameters(), strict=True)
    )
    assert method._base(2).equal(method.mask.start)
    changed = method._base(3) != method.mask.start
    own = method.changes["en"]
    assert set(changed.nonzero()[:, 0].tolist()) <= set(own.place.tolist())


def test_after_a_language_all_weights_train_again(tiny, logic):
    method = made(tiny.fresh(), logic, **TEXT)
    method.read = ["en", "fr"]
    for phase in (1, 2):
        method.begin(phase)
        assert method.mask.open.sum() == (len(method.changes["en"].place) if phase == 1 else len(method.mask.open))


def test_a_language_without_text_is_read_with_the_weights_that_the_task_was_learnt_with(tiny, logic):
    method = fitted(made(tiny.fresh(), logic, **TEXT), steps=16, texts={"en": TEXTS["en"], "fr": TEXTS["fr"]})
    assert method.notes == ["no text of zh: it has no weights of its own"]
    plain = made(tiny.fresh(), logic)
    plain.mask.put(method.mask.row())
    plain.head.load_state_dict(method.head.state_dict())
    with torch.no_grad():
        assert torch.allclose(method.logits(rows_in(method, ["zh"])), plain.logits(rows_in(method, ["zh"])), atol=1e-5)


def test_a_source_without_text_leaves_the_task_at_the_pretrained_weights(tiny, logic):
    method = fitted(made(tiny.fresh(), logic, **TEXT), steps=12, texts={"fr": TEXTS["fr"], "zh": TEXTS["zh"]})
    assert not (method.mask.row() != method.mask.start)[~method.mask.open].any()


# What is refused, and what a run holds


def test_text_in_no_language_is_one_sentence(tiny, logic):
    with pytest.raises(XlbenchError, match="method sparse has no text in any language; give some"):
        fitted(made(tiny.fresh(), logic, **TEXT), texts={})


@pytest.mark.parametrize("tune", ["lora", "frozen"])
def test_held_weights_are_nothing_to_choose_from(tiny, logic, tune):
    with pytest.raises(NotSupported, match="which are held; use --tune all"):
        made(tiny.fresh(tune, Lora()), logic)


def test_a_phase_without_a_step_is_refused(tiny, logic):
    with pytest.raises(XlbenchError, match="sparse has 8 phases, and 9 steps leave none for one of them"):
        fitted(made(tiny.fresh(), logic, **TEXT), steps=9)
    with pytest.raises(NotSupported, match="couples rows of text"):
        fitted(made(tiny.fresh(), logic, **TEXT), steps=12, accumulate=2)


def spec(**config):
    return RunSpec(
        method="sparse", task="logic", model="tiny", shots=3, languages=("en", "fr"), test_units=6, config=config,
        training=Training(steps=12, batch_size=4, checkpoints=4),
    )  # fmt: skip


def test_text_is_loaded_where_it_is_read(runtime):
    assert prepare(spec(), runtime).resources == {}
    assert set(prepare(spec(**TEXT), runtime).resources["unlabelled"]) == {"en", "fr"}


@pytest.mark.parametrize("at", [2, 6, 12])
def test_a_run_that_is_killed_in_any_phase_goes_on_to_the_same_bytes(tmp_path, monkeypatch, at):
    def runtime(folder):
        return Runtime(runs=tmp_path / folder, device="cpu", quiet=True, checkpoint_minutes=1e-9)

    alone, loss, steps = xlbench.run(spec(**TEXT), runtime("alone")), Sparse.loss, []

    def ending(self, batch):
        steps.append(1)
        if len(steps) == at:
            raise KeyboardInterrupt
        return loss(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Sparse, "loss", ending)
        with pytest.raises(KeyboardInterrupt):
            xlbench.run(spec(**TEXT), runtime("killed"))
    torch.manual_seed(99)
    found = xlbench.run(spec(**TEXT), runtime("killed"))
    assert any(f"resumed after step {at - 1}" in note for note in found.notes)
    ours, theirs = (Store(tmp_path / folder).predictions(alone.id) for folder in ("killed", "alone"))
    assert ours.equals(theirs)
    assert found.learnt["measures"] == alone.learnt["measures"]
