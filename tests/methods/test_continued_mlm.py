"""Text without labels: where it comes from, what a masked language model is asked, and the phases of continued-mlm."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_data import write_ntrex, write_paws_x, write_xnli
from torch import nn

import xlbench
from xlbench import registry
from xlbench.engine.prepare import prepare
from xlbench.engine.train import generator, training_batches
from xlbench.errors import NotSupported, XlbenchError
from xlbench.method import Resources
from xlbench.methods.continued_mlm import mixed
from xlbench.parts.masked_text import hidden_words, masked_loss, text_stream
from xlbench.spec import Lora, RunSpec, Runtime, Training

CPU = torch.device("cpu")
ContinuedMLM = registry.get("method", "continued-mlm")
TEXTS = {"fr": [("un chat noir", "il dort")] * 6, "zh": [("一 只 猫",)] * 3}


def made(backbone, task, **config):
    torch.manual_seed(0)
    method = ContinuedMLM(ContinuedMLM.Config(**config), backbone, task, ("en", "fr", "zh"), 64)
    method.module = method.build(backbone, task)
    return method


def step(method, task, texts=TEXTS, size=6):
    given = Resources(task.draw(4, 0, None).train, generator(0, "resources"), {"unlabelled": texts})
    return next(training_batches(method, method.encode_labelled(given.shots), method.streams(given), size, 0, CPU))


# The text


def loaded(root, method="continued-mlm", **settings):
    spec = RunSpec(
        method=method, task="xnli", model="tiny", shots=2, languages=("en", "fr", "sw"),
        resources={"unlabelled": settings},
    )  # fmt: skip
    return prepare(spec, Runtime(data_root=root, device="cpu"))


def test_text_is_both_sides_of_the_parallel_corpus_each_once(tmp_path):
    write_ntrex(write_xnli(tmp_path))
    found = loaded(tmp_path)
    assert found.spec.resources == {"unlabelled": {"origin": "any", "corpus": "ntrex-128", "size": 1000}}
    assert {language: len(rows) for language, rows in found.resources["unlabelled"].items()} == {
        "en": 4,
        "fr": 4,
        "sw": 4,
    }
    assert {len(row) for rows in found.resources["unlabelled"].values() for row in rows} == {2}


def test_a_language_that_the_corpus_lacks_has_its_train_rows_but_where_the_corpus_alone_was_asked_for(tmp_path):
    write_paws_x(write_xnli(tmp_path))  # it has no Swahili
    (either, alone) = (
        loaded(tmp_path, **asked).resources["unlabelled"]
        for asked in ({"origin": "any", "corpus": "paws-x"}, {"corpus": "paws-x"})
    )
    assert "sw" not in alone
    assert set(either) == {"en", "fr", "sw"}
    assert either["fr"] == alone["fr"]


def test_text_of_the_train_split_leaves_the_shots_out_and_has_no_labels(tmp_path):
    found = loaded(write_xnli(tmp_path), origin="train")
    shots = {row.texts for row in found.episode.shots.learnt}
    rows = found.resources["unlabelled"]
    assert {language: len(own) for language, own in rows.items()} == {"en": 18, "fr": 18, "sw": 18}  # 24 less 2 a class
    assert shots.isdisjoint(rows["en"])
    assert all(isinstance(text, str) for own in rows.values() for row in own for text in row)


def test_text_of_a_folder_is_a_line_a_row_and_a_language_without_a_file_is_absent(tmp_path):
    data, folder = write_xnli(tmp_path / "data"), tmp_path / "text"
    folder.mkdir()
    (folder / "fr.txt").write_bytes("\ufeffUn texte.\tEt un autre.\r\n\r\nUn seul.\n".encode())
    rows = loaded(data, folder=str(folder)).resources["unlabelled"]
    assert rows == {"fr": (("Un texte.", "Et un autre."), ("Un seul.",))}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"origin": "folder"}, "it has origin=folder, folder=None, corpus=None"),
        ({"origin": "train", "folder": "x"}, "it has origin=train, folder=x, corpus=None"),
        ({"corpus": "paws-x", "folder": "x"}, "it has origin=None, folder=x, corpus=paws-x"),
        ({"folder": "nowhere"}, "there is no folder nowhere"),
        ({"origin": "web"}, "origin"),
        ({"corpus": "ntrex"}, "did you mean 'ntrex-128'"),
    ],
)
def test_text_that_cannot_be_had_is_one_sentence(tmp_path, settings, said):
    with pytest.raises(XlbenchError, match=said):
        loaded(write_xnli(tmp_path), **settings)


def test_a_test_sentence_among_the_text_is_refused(tmp_path):
    data, folder = write_xnli(tmp_path / "data"), tmp_path / "text"
    folder.mkdir()
    (folder / "fr.txt").write_text("Le renard dort près du fleuve.\n")
    with pytest.raises(XlbenchError, match="test"):
        loaded(data, origin="folder", folder=str(folder))


# What is asked


def wide_batch(method, task, tiny):
    ids = torch.randint(20, len(tiny.word_embeddings()), (400, 60), generator=torch.manual_seed(1))
    names = ("cls_token_id", "sep_token_id", "pad_token_id")
    ids[:, 0], ids[:, 50], ids[:, 51:] = (getattr(tiny.tokenizer, name) for name in names)
    attention = torch.ones_like(ids)
    attention[:, 51:] = 0
    return replace(step(method, task).streams["text"], ids=ids, attention=attention)


def test_of_the_tokens_that_are_asked_four_in_five_are_masked_and_special_ones_never(tiny, logic):
    method = made(tiny.fresh(), logic)
    batch = wide_batch(method, logic, tiny)
    hidden, where, answers = hidden_words(method, batch)
    asked = answers >= 0
    assert (asked.sum(dim=1) == 7).all()  # 0.15 · 49 = 7.35
    assert set(where[asked].tolist()) <= {*range(1, 50)}
    assert all(len(set(row.tolist())) == len(row) for row in where)
    own, read = batch.ids.gather(1, where)[asked], hidden.gather(1, where)[asked]
    assert torch.equal(answers[asked], own)
    assert (read == tiny.tokenizer.mask_token_id).float().mean().item() == pytest.approx(0.8, abs=0.025)
    assert (read == own).float().mean().item() == pytest.approx(0.1, abs=0.025)
    assert (hidden != batch.ids).sum() == (read != own).sum()  # nothing else is hidden


def test_a_row_of_few_tokens_is_asked_for_one_and_one_of_none_for_nothing(tiny, logic):
    method = made(tiny.fresh(), logic)
    batch = wide_batch(method, logic, tiny)
    batch.ids[0, 1:50] = tiny.tokenizer.pad_token_id
    batch.ids[1, 2:50] = tiny.tokenizer.pad_token_id
    counts = (hidden_words(method, batch)[2] >= 0).sum(dim=1)
    assert counts[:3].tolist() == [0, 1, 7]


def test_the_loss_is_of_the_hidden_tokens_alone(tiny, logic):
    method = made(tiny.fresh(), logic)
    batch = step(method, logic).streams["text"]
    torch.manual_seed(3)
    hidden, where, answers = hidden_words(method, batch, 0.5)
    states = method.backbone.hidden(replace(batch, ids=hidden))
    logits = method.backbone.vocabulary_logits(method.backbone.transform(states)).float()
    chosen = [
        -nn.functional.log_softmax(logits[row, place], -1)[answer]
        for row, (places, own) in enumerate(zip(where, answers, strict=True))
        for place, answer in zip(places, own, strict=True)
        if answer >= 0
    ]
    torch.manual_seed(3)
    assert masked_loss(method, batch, 0.5).item() == pytest.approx(torch.stack(chosen).mean().item(), rel=1e-5)


def test_where_there_is_no_word_the_loss_is_0_and_has_a_gradient(tiny, logic):
    method = made(tiny.fresh(), logic)
    batch = step(method, logic).streams["text"]
    loss = masked_loss(method, replace(batch, ids=torch.full_like(batch.ids, tiny.tokenizer.pad_token_id)))
    assert loss.item() == 0
    loss.backward()


# The method


def test_text_in_the_first_phase_and_shots_in_the_second(tiny, logic):
    method = made(tiny.fresh(), logic, share=0.4)
    batch = step(method, logic)
    assert method.phases == (0.4,)
    method.progress = 0.39
    method.loss(batch).backward()
    assert all(value.grad is None for value in method.head.parameters())
    assert method.backbone.decoder.weight.grad is not None
    method.backbone.zero_grad()
    method.progress = 0.4
    method.loss(batch).backward()
    assert all(value.grad is not None for value in method.head.parameters())
    assert all(value.grad is None for value in method.backbone.transform.dense.parameters())  # nothing reads its head


def test_a_language_without_text_is_named_and_the_source_is_left_out_or_not(tiny, logic):
    texts = {"en": [("a cat", "it sleeps")], "fr": [("un chat", "il dort")]}
    for languages, read in (("targets", {"fr"}), ("all", {"en", "fr"})):
        method = made(tiny.fresh(), logic, languages=languages)
        batch = step(method, logic, texts)
        assert {logic.languages[index] for index in batch.streams["text"].languages} == read
        assert method.notes == ["no text of zh to read"]


def test_without_any_text_it_is_one_sentence(tiny, logic):
    with pytest.raises(XlbenchError, match="continued-mlm has no text to learn from in any language"):
        step(made(tiny.fresh(), logic), logic, {})


def test_a_held_backbone_reads_nothing(tiny, logic):
    with pytest.raises(NotSupported, match="--tune frozen holds it; use all or lora"):
        made(tiny.fresh("frozen"), logic)
    made(tiny.fresh("frozen"), logic, share=0.0)
    made(tiny.fresh("lora", Lora()), logic)


def test_languages_are_mixed_by_their_size_to_a_power():
    texts = {"fr": [str(number) for number in range(81)], "zh": ["a"]}
    assert {name: len(own) for name, own in mixed(texts, 1.0).items()} == {"fr": 81, "zh": 1}
    assert {name: len(own) for name, own in mixed(texts, 0.5).items()} == {"fr": 74, "zh": 8}  # 9 : 1 of 82
    assert {name: len(own) for name, own in mixed(texts, 0.0).items()} == {"fr": 41, "zh": 41}
    assert set(mixed(texts, 1.0)["fr"]) == set(texts["fr"])


def test_text_stream_tells_the_language_of_each_row(tiny, logic):
    method = made(tiny.fresh(), logic)
    encoded = text_stream(method, {"fr": ["un chat", "il dort"], "zh": ["猫"]}).encoded
    assert [logic.languages[index] for index in encoded.language] == ["fr", "fr", "zh"]


@pytest.mark.parametrize("limit", [{"share": 0.0}, {"mode": "joint", "weight": 0.0}])
def test_without_text_it_is_fine_tuning_to_the_bit(tmp_path, limit):
    def scores(method, **config):
        return _run(tmp_path / method, method, config)

    ours, theirs = scores("continued-mlm", **limit), scores("finetune")
    assert np.array_equal(ours, theirs)
    assert not np.array_equal(scores("continued-mlm"), theirs)


def _run(folder, method, config):
    spec = RunSpec(
        method=method, task="logic", model="tiny", shots=4, languages=("en", "fr"), test_units=6, selection="last",
        config=config, training=Training(steps=6, batch_size=4, checkpoints=2),
    )  # fmt: skip
    record = xlbench.run(spec, Runtime(runs=str(folder), device="cpu"))
    table = xlbench.records.store.Store(folder).predictions(record.id)
    return np.array([table.column(name).to_numpy() for name in table.column_names if name.startswith("log")])
