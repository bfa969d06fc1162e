"""Training the word embeddings that are read alone: the same result as training all of them."""

import numpy as np
import pytest
import torch

import xlbench
from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.engine.execute import words_read
from xlbench.errors import XlbenchError
from xlbench.method import Method
from xlbench.prompts import Encoded, Verbalizer

IDS = np.array([0, 1, 2, 7, 40, 41, 90])  # 1 is the padding


def batch_of(rows: list[list[int]]) -> Batch:
    ids = torch.tensor(rows)
    zeros = torch.zeros(len(rows), dtype=torch.long)
    return Batch(ids, (ids != 1).long(), zeros, torch.zeros_like(ids), zeros, zeros)


def trained(backbone: Backbone, trim: bool, steps: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """The word embeddings and the decoder's weights after some steps with much weight decay."""
    torch.manual_seed(0)
    ours = backbone.fresh().eval()  # no dropout
    assert not trim or ours.trim(IDS)
    optimiser = torch.optim.AdamW(ours.parameters(), lr=0.01, weight_decay=2.0)
    words = Verbalizer(("a", "b"), ((40,), (90,)))
    for _ in range(steps):
        optimiser.zero_grad()
        features = ours.transform(ours.answer_states(batch_of([[0, 7, 41, 2], [0, 40, 2, 1]])))
        ours.label_logits(features, words).softmax(-1)[:, 0].sum().backward()
        optimiser.step()
    if trim:
        assert len(ours.word_embeddings()) == len(IDS)
        ours.untrim((1 - 0.01 * 2.0) ** steps)
    return ours.word_embeddings().detach(), ours.decoder.weight.detach()


def test_the_weights_are_those_of_a_training_of_all(tiny):
    whole, trimmed = trained(tiny, False), trained(tiny, True)
    assert whole[0].shape == trimmed[0].shape == tiny.word_embeddings().shape
    assert torch.allclose(whole[0], trimmed[0], atol=1e-6)
    assert trimmed[0].data_ptr() == trimmed[1].data_ptr()  # still shared with the decoder
    rows = np.setdiff1d(np.arange(len(whole[0])), IDS)
    assert not torch.allclose(trimmed[0][rows], tiny.word_embeddings()[rows], atol=1e-3)  # they decayed
    assert not torch.allclose(trimmed[0][7], 0.98**5 * tiny.word_embeddings()[7], atol=1e-3)  # it learned


@pytest.mark.parametrize(
    ("method", "selection"),
    [
        ("finetune", "source-dev"), ("finetune", "last"), ("finetune", "average-last"), ("soft-prompt", "source-dev"),
        ("mpt", "last"), ("pct(support=label-words)", "average-last"),
    ],
)  # fmt: skip
def test_a_run_gives_the_same_with_and_without(tmp_path, monkeypatch, method, selection):
    name, _, config = method.partition("(")
    budget = xlbench.Training(steps=4, checkpoints=2, learning_rate=3e-4, weight_decay=5.0, average_last=2)
    words = {"support": "label-words", "supervised_over": "label-words"} if config else {}
    spec = xlbench.RunSpec(
        task="logic", method=name, shots=4, model="tiny", languages=("en", "sw"), test_units=5,
        selection=selection, training=budget, config=words,
    )  # fmt: skip
    found, trims, real = [], [], Backbone.trim
    monkeypatch.setattr(Backbone, "trim", lambda self, ids: trims.append(real(self, ids)) or trims[-1])
    for folder in ("trimmed", "whole"):
        here = xlbench.Runtime(runs=tmp_path / folder, quiet=True)
        record = xlbench.run(spec, here)
        table = xlbench.Store(here.runs).predictions(record.id)
        scores = np.stack([table[f"log_prob_{label}"].to_numpy() for label in range(3)])
        found.append((scores, record.costs["trainable_parameters"], record.selection["step"]))
        monkeypatch.setattr(Backbone, "trim", lambda self, ids: False)
    assert trims == [True]
    assert np.allclose(found[0][0], found[1][0], atol=1e-4)
    assert found[0][1:] == found[1][1:]


def test_a_method_that_says_that_it_reads_the_vocabulary_trains_all_of_it(tiny, logic):
    class Whole(Method):
        name = "whole"
        whole_vocabulary = True

    pct = xlbench.registry.get("method", "pct")
    encoded = [Encoded([np.array([5, 6, -1])], *[np.zeros(1, dtype=int)] * 3)]
    assert words_read(Whole(Whole.Config(), tiny, logic, ("en",)), encoded) is None
    words = {"support": "label-words", "supervised_over": "label-words"}
    assert words_read(pct(pct.Config(), tiny, logic, ("en",)), encoded) is None
    assert words_read(pct(pct.Config(**words, score_over="vocabulary"), tiny, logic, ("en",)), encoded) is None
    finetune = xlbench.registry.get("method", "finetune")
    assert words_read(finetune(finetune.Config(), tiny, logic, ("en",)), encoded).tolist() == [0, 1, 5, 6]


def test_a_word_that_was_left_out_is_an_error_and_so_is_the_whole_vocabulary(tiny):
    ours = tiny.fresh()
    assert ours.trim(IDS)
    features = ours.transform(ours.answer_states(batch_of([[0, 7, 2]])))
    with pytest.raises(IndexError):
        ours.transform(ours.answer_states(batch_of([[0, 8, 2]])))
    with pytest.raises(XlbenchError, match="`whole_vocabulary` must be True"):
        ours.vocabulary_logits(features)
    ours.untrim(1.0)
    assert torch.equal(ours.word_embeddings(), tiny.word_embeddings())
    assert ours.encoder.get_input_embeddings().padding_idx == tiny.encoder.get_input_embeddings().padding_idx


@pytest.mark.parametrize("tune", ["lora", "frozen"])
def test_where_they_do_not_train_they_stay(tiny, tune):
    assert not tiny.fresh(tune).trim(IDS)


def test_most_of_them_are_not_worth_the_trouble(tiny):
    assert not tiny.fresh().trim(np.arange(len(tiny.word_embeddings()) * 2 // 3))
