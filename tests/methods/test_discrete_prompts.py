"""Discrete and mixed prompts as Zhao & Schütze have them, the papers' label words, and words of several tokens."""

import hashlib
import math
import string
import unicodedata
from itertools import chain

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
from xlbench.wording import DISCRETE_WORDS, discrete_words, template

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
    assert template("discrete", NLI, "sw") == "{premise.} . Swali: {hypothesis.} ? Jibu: <mask> ."
    assert template("discrete", NLI, "hi") == "{premise.} . सवाल: {hypothesis.} ? उत्तर: <mask> ."
    assert template("mixed", NLI, "en") == "{premise.} . Question: {hypothesis.} ? Answer: <prompt> <mask> ."
    assert template("mixed-answer", NLI, "fr") == "{premise.} . Question: {hypothesis.} ? <prompt> Répondre: <mask> ."
    assert template("discrete", ("text",), "en") == "{text.} . Answer: <mask> ."
    assert template("discreet", NLI, "en") is None


def test_beside_the_15_languages_words_are_lighteval_s_or_english():
    assert discrete_words("ja") == ("質問:", "回答:")
    assert discrete_words("eus_Latn") == ("Galdera:", "Erantzuna:")
    assert discrete_words("quy") is None
    assert template("discrete", NLI, "quy") == template("discrete", NLI, "eng_Latn") == template("discrete", NLI, "en")


def test_the_input_is_the_released_one_made_part_by_part(tiny, logic):
    """As their code makes it: each part's ids apart, ASCII punctuation stripped; one segment."""
    rows = logic.test("fr", None)[:6]
    found = made("discrete-prompt", tiny.fresh(), logic).encode(rows, "fr")
    assert [ids.tolist() for ids in found.ids] == [released(tiny.tokenizer, row.texts) for row in rows]
    assert [ids[place] for ids, place in zip(found.ids, found.read_at, strict=True)] == [
        tiny.tokenizer.mask_token_id
    ] * 6


def released(tokenizer, texts, question="Question:", answer="Answer:"):
    first, second = (text.rstrip(string.punctuation) or text for text in texts)
    parts = [first, ".", question, second, "?", answer, tokenizer.mask_token, "."]
    ids = [tokenizer(part, add_special_tokens=False)["input_ids"] for part in parts]
    return [tokenizer.cls_token_id, *chain.from_iterable(ids), tokenizer.sep_token_id]


@pytest.mark.parametrize("at", ["before-mask", "before-answer"])
def test_without_vectors_a_mixed_prompt_is_a_discrete_one_to_the_bit(tmp_path, at):
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
    assert np.array_equal(scores("mixed-prompt", prompt_length=0, prompt_at=at), discrete)
    assert not np.array_equal(scores("mixed-prompt", prompt_at=at), discrete)


@pytest.mark.parametrize("at", ["before-mask", "before-answer"])
def test_without_vectors_a_mixed_prompt_fills_the_discrete_template_of_the_task(tiny, logic, monkeypatch, at):
    """No template parted at vectors: what tokenizers make of its parts is not what they make of the whole."""
    own = {"discrete": {"en": "{premise} so {hypothesis} <mask>"}}
    monkeypatch.setattr(type(logic), "templates", {**type(logic).templates, **own})
    rows = logic.test("en", None)[:2]
    discrete = made("discrete-prompt", tiny.fresh(), logic, ("en",))
    mixed = made("mixed-prompt", tiny.fresh(), logic, ("en",), prompt_length=0, prompt_at=at)
    for ours, theirs in zip(mixed.encode(rows, "en").ids, discrete.encode(rows, "en").ids, strict=True):
        assert np.array_equal(ours, theirs)
    assert mixed.prompts_read() == discrete.prompts_read()
    assert "prompt" not in mixed.module


def test_with_vectors_they_train_beside_the_whole_masked_lm(tiny, logic):
    backbone = tiny.fresh()
    method = made("mixed-prompt", backbone, logic)
    assert {*map(id, method.module.parameters())} - {*map(id, backbone.parameters())} == {
        *map(id, method.prompt_encoder.parameters())
    }
    batch = collate(method.encode_labelled(logic.draw(2, 0, None).train), [0, 1], tiny.tokenizer.pad_token_id, CPU)
    method.loss(batch).backward()
    assert all(value.grad is not None for value in method.prompt_encoder.parameters())


@pytest.mark.parametrize(("at", "end"), [("before-mask", [-1, -2, -3, "<mask>"]), ("before-answer", ["<mask>"])])
def test_the_vectors_stand_where_they_were_asked_to(tiny, logic, at, end):
    method = made("mixed-prompt", tiny.fresh(), logic, prompt_length=3, prompt_at=at)
    row = method.encode(logic.test("en", None)[:1], "en")
    ids, mask = row.ids[0], tiny.tokenizer.mask_token_id
    place = int(row.read_at[0])
    assert ids[place - len(end) + 1 : place + 1].tolist() == [mask if one == "<mask>" else one for one in end]
    assert sorted(ids[ids < 0].tolist()) == [-3, -2, -1]


@pytest.mark.parametrize("name", ["discrete-prompt", "mixed-prompt"])
@pytest.mark.parametrize(
    ("sources", "words", "asked"),
    [((), "source", "answer"), ((), "own", "répondre"), (("de",), "source", "antworten"), (("de",), "own", "répondre")],
)
def test_words_of_the_question_are_the_source_s_or_the_row_s_own(tiny, name, sources, words, asked):
    logic = registry.get("task", "logic")(sources)
    method = made(name, tiny.fresh(), logic, question_words=words)
    ids = method.encode(logic.test("fr", None)[:1], "fr").ids[0]
    text = tiny.tokenizer.decode(ids[ids >= 0]).replace(" ", "")
    assert [word for word in ("answer", "répondre", "antworten") if f"{word}:" in text] == [asked]


@pytest.mark.parametrize(("words", "told"), [("source", []), ("own", ["aym, quy"])])
def test_languages_whose_question_is_in_english_s_words_are_named(tiny, words, told):
    task = registry.get("task", "americas-nli")()
    method = made("discrete-prompt", tiny.fresh(), task, ("aym", "quy"), question_words=words, words="yes-no")
    assert method.notes == [
        f"the question is in English's words for {languages}: no others are known" for languages in told
    ]


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


@pytest.mark.parametrize(
    ("words", "digest"),
    [
        (RIGHT_WRONG, "abb6df4c1e104b83"),
        (DPA, "196ccc3cca43e8a9"),
        (registry.get("task", "paws-x").word_sets["dpa"], "6f8050fab7d7088f"),
        (DISCRETE_WORDS, "2c2fbf718fcc100f"),
    ],
    ids=["right-wrong", "dpa", "dpa of paws-x", "question words"],
)
def test_every_word_is_the_released_one(words, digest):
    """Digests of the tables in mprompting/xlmrprompt (39aed8f) and DAMO-NLP-SG/DPA (954840c), characters composed."""
    listed = unicodedata.normalize("NFC", repr(sorted((language, tuple(own)) for language, own in words.items())))
    assert hashlib.sha256(listed.encode()).hexdigest()[:16] == digest


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
    with pytest.raises(XlbenchError, match=r"two labels share one label word in .*, of each the last token;"):
        Verbalizer.of(tiny.tokenizer, ("very quietly", "more quietly"), "last")
