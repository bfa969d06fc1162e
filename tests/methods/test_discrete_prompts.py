"""Discrete and mixed prompts as Zhao & Schütze have them, the papers' label words, and words of several tokens."""

import math

import numpy as np
import pytest
import torch

import xlbench
from xlbench import registry
from xlbench.batching import collate
from xlbench.errors import XlbenchError
from xlbench.nli import DPA, NLI_LANGUAGES, RIGHT_WRONG
from xlbench.prompts import Verbalizer
from xlbench.records.store import Store
from xlbench.spec import RunSpec, Runtime, Training
from xlbench.wording import template

CPU = torch.device("cpu")
NLI = ("premise", "hypothesis")


def made(name, backbone, task, languages=("en", "fr", "zh"), **config):
    torch.manual_seed(0)
    method_class = registry.get("method", name)
    method = method_class(method_class.Config(**config), backbone, task, languages, 64)
    method.module = method.build(backbone, task)
    return method


def test_the_templates_are_those_of_the_paper():
    assert template("discrete", NLI, "en") == "{premise.} . Question: {hypothesis.} ? Answer: <mask> ."
    assert template("discrete", NLI, "zh") == template("discrete", NLI, "en")
    assert template("discrete-own", NLI, "sw") == "{premise.} . Swali: {hypothesis.} ? Jibu: <mask> ."
    assert template("discrete-own", NLI, "ja").startswith("{premise.} . 質問: {hypothesis.} ? ")  # lighteval's words
    assert template("mixed", NLI, "en") == "{premise.} . Question: {hypothesis.} ? Answer: <prompt> <mask> ."
    assert template("mixed-answer", NLI, "en") == "{premise.} . Question: {hypothesis.} ? <prompt> Answer: <mask> ."
    assert (
        template("mixed-answer-own", NLI, "fr") == "{premise.} . Question: {hypothesis.} ? <prompt> Répondre: <mask> ."
    )
    assert template("discrete", ("text",), "en") == "{text.} . Answer: <mask> ."
    assert template("discreet", NLI, "en") is template("soft-own", NLI, "en") is None


def test_without_vectors_a_mixed_prompt_is_a_discrete_one_to_the_bit(tmp_path):
    def scores(method, **config):
        spec = RunSpec(
            method=method, task="logic", model="tiny", shots=4, languages=("en", "fr"), test_units=6, selection="last",
            config=config, training=Training(steps=6, batch_size=4, checkpoints=2),
        )  # fmt: skip
        record = xlbench.run(spec, Runtime(runs=tmp_path, device="cpu"))
        table = Store(tmp_path).predictions(record.id)
        return np.array([table.column(name).to_numpy() for name in table.column_names if name.startswith("log")])

    discrete = scores("discrete-prompt")
    assert discrete.size
    assert np.array_equal(scores("mixed-prompt", prompt_length=0), discrete)
    assert not np.array_equal(scores("mixed-prompt"), discrete)
    assert not np.array_equal(scores("discrete-prompt", question_words="own"), discrete)


@pytest.mark.parametrize(("at", "end"), [("before-mask", [-1, -2, -3, "<mask>"]), ("before-answer", ["<mask>"])])
def test_the_vectors_stand_where_they_were_asked_to(tiny, logic, at, end):
    method = made("mixed-prompt", tiny.fresh(), logic, prompt_length=3, prompt_at=at)
    row = method.encode(logic.test("en", None)[:1], "en")
    ids, mask = row.ids[0], tiny.tokenizer.mask_token_id
    place = int(row.read_at[0])
    assert ids[place - len(end) + 1 : place + 1].tolist() == [mask if one == "<mask>" else one for one in end]
    assert sorted(ids[ids < 0].tolist()) == [-3, -2, -1]


@pytest.mark.parametrize("words", ["source", "own"])
def test_words_of_the_question_are_english_or_the_language_s_own(tiny, logic, words):
    method = made("discrete-prompt", tiny.fresh(), logic, question_words=words)
    text = tiny.tokenizer.decode(method.encode(logic.test("fr", None)[:1], "fr").ids[0])
    assert ("répondre" in text.replace(" ", "")) == (words == "own")
    assert ("answer" in text.replace(" ", "")) == (words == "source")


def test_the_loss_by_hand(tiny, logic):
    """Logits (2, 1, 0), gold 0: ln(1 + e⁻¹ + e⁻²) = 0.4076."""
    method = made("discrete-prompt", tiny.fresh(), logic)
    shots = method.encode_labelled([row for row in logic.draw(1, 0, None).train if row.gold == 0])
    batch = collate(shots, [0], tiny.tokenizer.pad_token_id, CPU)
    method.logits = lambda _: torch.tensor([[2.0, 1.0, 0.0]])
    assert method.loss(batch).item() == pytest.approx(math.log(1 + math.exp(-1) + math.exp(-2)))


def test_the_whole_masked_lm_trains_and_nothing_else(tiny, logic):
    backbone = tiny.fresh()
    method = made("discrete-prompt", backbone, logic)
    assert {*map(id, method.module.parameters())} == {*map(id, backbone.parameters())}
    batch = collate(method.encode_labelled(logic.draw(2, 0, None).train), [0, 1], tiny.tokenizer.pad_token_id, CPU)
    method.loss(batch).backward()
    unmoved = {name for name, value in backbone.named_parameters() if value.grad is None}
    assert not any("layer" in name or "embeddings" in name or "transform" in name for name in unmoved)


# Label words


@pytest.mark.parametrize("words", [RIGHT_WRONG, DPA])
def test_the_papers_have_three_words_in_each_of_the_15_languages(words):
    assert set(words) == set(NLI_LANGUAGES)
    assert all(len(set(own)) == 3 for own in words.values())


def test_the_papers_words_stand_as_they_are_published():
    assert (RIGHT_WRONG["en"], DPA["en"]) == (("right", "maybe", "wrong"), ("yes", "maybe", "no"))
    assert "N" in RIGHT_WRONG["el"][0]  # a Latin letter, as released
    assert DPA["ru"][1] == DPA["bg"][1] == "може"  # Bulgarian, as released


@pytest.mark.parametrize("name", ["discrete-prompt", "soft-prompt", "pct", "mpt", "mixed-prompt"])
def test_every_prompt_method_takes_any_set_of_the_task_s(tiny, name):
    task = registry.get("task", "xnli")()
    method = made(name, tiny.fresh(), task, words="dpa", multi_token="mean")
    assert method.verbalizer("fr").words == DPA["en"]
    assert registry.get("method", name).published_words in {"", *task.word_sets}


def test_a_set_that_there_is_not_is_named_with_those_that_there_are(tiny):
    with pytest.raises(XlbenchError, match=r"unknown set 'dpo'.*did you mean 'dpa'"):
        made("soft-prompt", tiny.fresh(), registry.get("task", "xnli")(), words="dpo")


def test_a_published_set_without_the_source_gives_way_to_the_task_s_own_words(tiny, monkeypatch):
    task = registry.get("task", "xnli")()
    monkeypatch.setattr(type(task), "word_sets", {"right-wrong": {"fr": ("oui", "possible", "non")}})
    assert made("soft-prompt", tiny.fresh(), task, multi_token="mean").verbalizer("en").words == task.words["en"]


def test_a_word_of_several_tokens_is_scored_by_all_or_by_its_last(tiny):
    words = ("sleeping quietly", "no")
    several = Verbalizer.of(tiny.tokenizer, words, "mean").pieces[0]
    assert len(several) > 1
    last = Verbalizer.of(tiny.tokenizer, words, "last")
    assert last.pieces == ((several[-1],), Verbalizer.of(tiny.tokenizer, ("no", "yes")).pieces[0])
    logits = torch.arange(float(len(tiny.word_embeddings())))[None]
    assert last.picked(logits)[0, 0] == several[-1]
    with pytest.raises(XlbenchError, match="multi_token=mean to score the mean of its pieces, or =last its last"):
        Verbalizer.of(tiny.tokenizer, words)


def test_two_words_with_one_last_piece_are_refused(tiny):
    with pytest.raises(XlbenchError, match="two labels share one label word"):
        Verbalizer.of(tiny.tokenizer, ("very quietly", "more quietly"), "last")
