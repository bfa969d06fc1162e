"""Dual prompt augmentation: its loss by hand, what is mixed, and whose words are trained towards."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import xlbench
from xlbench import registry
from xlbench.batching import collate
from xlbench.errors import NotSupported, XlbenchError
from xlbench.spec import RunSpec, Runtime, Training
from xlbench.wording import template

CPU = torch.device("cpu")
DPA = registry.get("method", "dpa")


def made(backbone, task, tested=("en", "fr", "zh"), **config):
    torch.manual_seed(0)
    method = DPA(DPA.Config(**config), backbone, task, tested, 64)
    method.module = method.build(backbone, task)
    return method


def batch_of(method, task, rows=4):
    encoded = method.encode_labelled(task.draw(4, 0, None).train)
    return collate(encoded, range(rows), method.backbone.tokenizer.pad_token_id, CPU)


def with_logits(method, logits):
    """The vocabulary's logits are the first numbers of the state: so mixed states give mixed logits."""
    method.backbone.answer_states = lambda batch, prompt=None: logits
    method.backbone.transform = nn.Identity()
    method.backbone.vocabulary_logits = lambda features: features
    return method


def test_the_template_has_no_words():
    assert template("universal", ("premise", "hypothesis"), "fr") == "{premise.} .<sep>{hypothesis.} ? <mask> ."
    assert template("universal", ("text",), "fr") == "{text.} . <mask> ."


@pytest.mark.parametrize("rows", [1, 2, 3, 6])
def test_equal_logits_cost_ln_of_the_vocabulary_whatever_is_mixed(tiny, logic, rows):
    method = made(tiny.fresh(), logic)
    size = len(tiny.word_embeddings())
    loss = with_logits(method, torch.zeros(rows, size)).loss(batch_of(made(tiny.fresh(), logic), logic, rows))
    assert loss.item() == pytest.approx(math.log(size), rel=1e-6)


def by_hand(method, states, labels, share, head=lambda state: state):
    """The loss as the paper has it, pair by pair; `share` is every pair's λ, `head` what reads a state."""

    def error(state, label):
        log_p = head(state).log_softmax(-1)
        pieces = [verbalizer.pieces[label] for verbalizer in method.every.values()]
        return -sum(log_p[list(own)].mean() for own in pieces) / len(pieces)

    total = 0.0
    for first in range(0, len(states) - 1, 2):
        i, j = first, first + 1
        mixed = share * states[i] + (1 - share) * states[j]
        rows = (error(states[i], labels[i]) + error(states[j], labels[j])) / 2
        of_both = share * error(mixed, labels[i]) + (1 - share) * error(mixed, labels[j])
        total += 2 * (2 / 3 * rows + 1 / 3 * of_both)
    if len(states) % 2:
        total += error(states[-1], labels[-1])
    return total / len(states)


@pytest.mark.parametrize("rows", [2, 5])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_loss_is_the_papers_pair_by_pair(tiny, logic, monkeypatch, rows, share):
    method = made(tiny.fresh(), logic)
    logits = torch.randn(rows, len(tiny.word_embeddings()), generator=torch.manual_seed(1))
    batch = replace(batch_of(method, logic, rows), labels=torch.arange(rows) % 3)
    monkeypatch.setattr(DPA, "_shares", lambda self, pairs, states: torch.full((pairs,), share))
    expected = by_hand(method, logits, batch.labels.tolist(), share)
    assert with_logits(method, logits).loss(batch).item() == pytest.approx(expected.item(), rel=1e-5)


def test_states_are_mixed_before_the_masked_lm_head(tiny, logic, monkeypatch):
    """The head is no linear map: to mix what it gives is another loss."""
    method, share = made(tiny.fresh(), logic), 0.3
    backbone, batch = method.backbone, batch_of(method, logic)
    monkeypatch.setattr(DPA, "_shares", lambda self, pairs, states: torch.full((pairs,), share))
    with torch.no_grad():
        states, labels = backbone.answer_states(batch), batch.labels.tolist()
        expected = by_hand(
            method, states, labels, share, lambda state: backbone.vocabulary_logits(backbone.transform(state))
        )
        behind = by_hand(method, backbone.transform(states), labels, share, backbone.vocabulary_logits)
        assert method.loss(batch).item() == pytest.approx(expected.item(), rel=1e-5)
    assert behind.item() != pytest.approx(expected.item(), rel=1e-4)


@settings(max_examples=20, deadline=None)
@given(share=st.floats(0, 1), labels=st.lists(st.integers(0, 2), min_size=2, max_size=2), seed=st.integers(0, 99))
def test_which_row_of_a_pair_comes_first_is_all_one(tiny, logic, share, labels, seed):
    logits = torch.randn(2, len(tiny.word_embeddings()), generator=torch.manual_seed(seed))
    method = made(tiny.fresh(), logic)
    batch = replace(batch_of(method, logic, 2), labels=torch.tensor(labels))
    with_logits(method, logits)._shares = lambda pairs, states: torch.full((pairs,), share)
    one_way = method.loss(batch).item()
    method.backbone.answer_states = lambda batch, prompt=None: logits.flip(0)
    method._shares = lambda pairs, states: torch.full((pairs,), 1 - share)
    assert method.loss(replace(batch, labels=batch.labels.flip(0))).item() == pytest.approx(one_way, rel=1e-5)


def test_with_one_language_and_nothing_mixed_it_is_cross_entropy_over_the_vocabulary(tiny, logic):
    method = made(tiny.fresh(), logic, mixup=0.0, languages="source")
    batch = batch_of(method, logic)
    logits = method.backbone.vocabulary_logits(method.backbone.mask_features(batch))
    ids = torch.tensor([pieces[0] for pieces in method.verbalizer("en").pieces])
    state = torch.get_rng_state()
    assert method.loss(batch).item() == pytest.approx(nn.functional.cross_entropy(logits, ids[batch.labels]).item())
    assert torch.equal(torch.get_rng_state(), state)  # nothing is drawn


def test_shares_are_drawn_anew_from_the_beta_distribution(tiny, logic):
    method = made(tiny.fresh(), logic, mixup=0.4)
    torch.manual_seed(2)
    drawn = method._shares(20000, torch.zeros(1))
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.01)
    assert drawn.var().item() == pytest.approx(0.25 / 1.8, rel=0.03)  # of Beta(a, a): 1 / (4 (2a + 1))


def test_words_of_every_language_of_the_task_are_trained_towards_tested_or_not(tiny, logic):
    assert set(made(tiny.fresh(), logic, ("en",)).every) == set(logic.languages)


def test_the_source_s_words_alone_where_asked(tiny, logic):
    assert set(made(tiny.fresh(), logic, languages="source").every) == {"en"}


def test_the_test_compares_the_source_s_words(tiny, logic):
    method = made(tiny.fresh(), logic)
    encoded = method.encode_labelled(logic.test("fr", None)[:4])
    batch = collate(encoded, range(4), tiny.tokenizer.pad_token_id, CPU)
    among = method.backbone.label_logits(method.backbone.mask_features(batch), method.verbalizer("en"))
    torch.testing.assert_close(method.score(batch), among.log_softmax(-1))


@pytest.mark.parametrize("compared", ["sum", "maximum"])
def test_the_words_of_all_languages_may_be_compared(tiny, logic, compared):
    method = made(tiny.fresh(), logic, compared=compared)
    encoded = method.encode_labelled(logic.test("fr", None)[:4])
    batch = collate(encoded, range(4), tiny.tokenizer.pad_token_id, CPU)
    probabilities = method.backbone.vocabulary_logits(method.backbone.mask_features(batch)).softmax(-1)
    by_label = [[probabilities[:, list(own.pieces[label])] for own in method.every.values()] for label in range(3)]
    each = torch.stack([torch.cat(words, dim=1) for words in by_label])  # (labels, n, languages)
    expected = (each.sum(-1) if compared == "sum" else each.amax(-1)).T
    torch.testing.assert_close(method.score(batch), expected.log().log_softmax(-1))
    assert not torch.allclose(method.score(batch), made(tiny.fresh(), logic).score(batch))


def test_with_the_source_s_words_alone_all_languages_are_one(tiny, logic):
    one, greatest = (made(tiny.fresh(), logic, languages="source", compared=kind) for kind in ("one", "maximum"))
    batch = batch_of(one, logic)
    assert torch.equal(one.score(batch), greatest.score(batch))


def test_a_run_s_identity_holds_the_words_it_trains_towards_tested_or_not(tiny, logic, monkeypatch):
    read = made(tiny, logic, ("en",)).prompts_read()
    other = {**logic.label_words, "fr": tuple(reversed(logic.label_words["fr"]))}
    monkeypatch.setattr(type(logic), "label_words", other)
    assert made(tiny, logic, ("en",)).prompts_read() != read
    assert made(tiny, logic, ("en",), languages="source").prompts_read()["all words"] == {"en": other["en"]}


def test_a_language_without_words_is_left_out_and_named_and_the_source_must_have_them(tiny, logic, monkeypatch):
    words = {**logic.label_words}
    monkeypatch.setattr(type(logic), "label_words", {name: own for name, own in words.items() if name != "fr"})
    method = made(tiny.fresh(), logic)
    assert "fr" not in method.every
    assert method.notes == ["label words of fr do not count: none, or none that can be scored"]
    monkeypatch.setattr(type(logic), "label_words", {name: own for name, own in words.items() if name != "en"})
    with pytest.raises(XlbenchError, match="0 label words in 'en'"):
        made(tiny.fresh(), logic)


def test_the_whole_masked_lm_trains(tiny, logic):
    backbone = tiny.fresh()
    method = made(backbone, logic)
    method.loss(batch_of(method, logic)).backward()
    without = {name for name, value in backbone.named_parameters() if value.grad is None}
    assert not any("layer" in name or "word_embeddings" in name or "decoder" in name for name in without)


def run(folder, accumulate=1, **config):
    training = Training(steps=4, batch_size=6, checkpoints=2, accumulate=accumulate)
    asked = {"shots": 3, "languages": ("en", "fr"), "test_units": 4, "selection": "last"}  # 9 shots: 6, then 3
    spec = RunSpec(method="dpa", task="logic", model="tiny", config=config, training=training, **asked)
    return xlbench.run(spec, Runtime(runs=folder, device="cpu"))


def test_a_small_run_of_batches_with_an_odd_row(tmp_path):
    mixed, apart = run(tmp_path), run(tmp_path, mixup=0.0)
    assert set(mixed.by_language) == {"en", "fr"}
    assert mixed.learnt["movement"]["backbone"] > 0
    assert mixed.selection["history"][-1]["loss"] != apart.selection["history"][-1]["loss"]


def test_its_rows_are_coupled_so_that_no_batch_goes_through_in_parts(tmp_path):
    with pytest.raises(NotSupported, match="couples rows"):
        run(tmp_path, accumulate=2)
