"""UniPrompt: the prompt's own tower, where the label vectors begin, and what trains at which rate."""

import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xlbench
from xlbench import registry
from xlbench.backbone import Backbone
from xlbench.batching import Batch, collate
from xlbench.engine.predict import predict
from xlbench.engine.session import Session
from xlbench.engine.train import generator
from xlbench.errors import XlbenchError
from xlbench.method import Method, Resources
from xlbench.spec import ResolvedTraining, RunSpec, Training
from xlbench.task import Task

CPU = torch.device("cpu")
UniPrompt = registry.get("method", "uniprompt")


def made(backbone: Backbone, task: Task, **config) -> Method:
    torch.manual_seed(0)
    method = UniPrompt(UniPrompt.Config(**config), backbone, task, ("en", "fr", "zh"), 64)
    method.module = method.build(backbone, task)
    return method


def started(method: Method, shots) -> Method:
    method.streams(Resources(shots, generator(0, "resources"), {}))
    return method


def batch_in(method: Method, language: str, count: int = 6, first: int = 0) -> Batch:
    encoded = method.encode_labelled(list(method.task.test(language, None))[first : first + count])
    return collate(encoded, range(len(encoded)), method.backbone.tokenizer.pad_token_id, CPU)


def with_dropout(backbone: Backbone) -> Backbone:
    ours = backbone.fresh()
    for part in ours.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.3
    return ours


# The two towers


def test_the_tower_begins_as_the_lower_layers_to_the_bit_and_trains_apart_from_them(tiny, logic):
    method = made(tiny.fresh(), logic)
    lower = method.backbone.layers[: method.apart]
    assert method.apart == 3
    for ours, theirs in zip(method.tower.parameters(), lower.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours is not theirs
    method.loss(batch_in(method, "en")).backward()
    for part in (method.tower, lower, method.backbone.layers[method.apart :], method.backbone.transform):
        assert all(value.grad is not None and value.grad.any() for value in part.parameters() if value.dim() > 1)


@pytest.mark.parametrize(("share", "apart"), [(0.5, 2), (0.67, 3), (0.92, 3), (0.01, 1)])
def test_a_share_of_the_layers_is_apart_one_at_least_and_not_all(tiny, logic, share, apart):
    assert len(made(tiny.fresh(), logic, share=share).tower) == apart


def test_by_hand_the_prompt_stands_before_the_text_and_neither_sees_the_other_below(tiny, logic):
    method = made(tiny.fresh(), logic)
    encoder, batch = method.backbone.encoder, batch_in(method, "fr", 1)
    prompt = torch.from_numpy(method.prompt.ids[0])[None]
    expected_ids = tiny.tokenizer("Answer: <mask> .")["input_ids"]
    assert prompt[0].tolist() == expected_ids
    sides = []
    for ids, layers in ((prompt, method.tower), (batch.ids, method.backbone.layers[: method.apart])):
        states = encoder.embeddings(input_ids=ids)
        for layer in layers:
            states = layer(states)
        sides.append(states)
    states = torch.cat(sides, dim=1)
    for layer in method.backbone.layers[method.apart :]:
        states = layer(states)
    at = states[:, expected_ids.index(tiny.tokenizer.mask_token_id)]
    torch.testing.assert_close(method.mask_states(batch), at, atol=1e-5, rtol=1e-5)
    by_hand = method.backbone.transform(at) @ method.label_vectors.T
    torch.testing.assert_close(method.logits(batch), by_hand, atol=1e-5, rtol=1e-5)


def test_a_rows_scores_are_those_of_a_tower_that_ran_for_that_row_alone(tiny, logic):
    method = started(made(tiny.fresh(), logic), logic.draw(2, 0, None).train)
    together = method.score(batch_in(method, "zh", 6))
    for row in range(6):
        alone = method.score(batch_in(method, "zh", 1, first=row))
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=1e-5)


def test_what_the_tower_makes_of_the_prompt_depends_on_the_tower_alone(tiny, logic):
    method = made(tiny.fresh(), logic)
    prompt, texts = method.prompt_states(), method.backbone.states(batch_in(method, "en"), method.apart)
    with torch.no_grad():
        for value in method.tower[0].parameters():
            value += 0.1
    assert not torch.allclose(method.prompt_states(), prompt, atol=1e-3)
    assert torch.equal(method.backbone.states(batch_in(method, "en"), method.apart), texts)


# The label vectors


@pytest.mark.parametrize("training", [False, True])
def test_each_label_vector_begins_as_the_mean_state_at_mask_of_its_shots(tiny, logic, training):
    shots = logic.draw(3, 0, None).train
    method = made(with_dropout(tiny), logic)
    method.module.train(training)
    started(method, shots)
    method.module.eval()
    for label in range(3):
        own = [shot for shot in shots if shot.gold == label]
        encoded = method.encode_labelled(own)
        states = method.mask_states(collate(encoded, range(len(own)), tiny.tokenizer.pad_token_id, CPU))
        torch.testing.assert_close(method.label_vectors[label], states.mean(dim=0), atol=1e-6, rtol=1e-5)


def test_a_label_without_a_shot_keeps_the_vector_that_was_drawn(tiny, logic):
    shots = [shot for shot in logic.draw(3, 0, None).train if shot.gold != 1]
    method = made(tiny.fresh(), logic)
    drawn = method.label_vectors.detach().clone()
    started(method, shots)
    assert torch.equal(method.label_vectors[1], drawn[1])
    assert not torch.allclose(method.label_vectors[0], drawn[0])


def test_label_vectors_begin_as_words_or_as_they_were_drawn(tiny, logic):
    shots = logic.draw(1, 0, None).train
    words = started(made(tiny.fresh(), logic, label_start="words"), shots)
    for word, vector in zip(logic.words["en"], words.label_vectors, strict=True):
        (piece,) = tiny.tokenizer(word, add_special_tokens=False)["input_ids"]
        assert torch.equal(vector, tiny.decoder.weight[piece])
    drawn = made(tiny.fresh(), logic, label_start="random")
    before = drawn.label_vectors.detach().clone()
    assert torch.equal(started(drawn, shots).label_vectors, before)


# What trains


@pytest.mark.parametrize("tune", ["all", "lora", "frozen"])
def test_the_copy_is_pretrained_as_what_it_was_copied_from_and_adapters_are_not(tiny, logic, tune):
    method = made(tiny.fresh(tune), logic)
    training = ResolvedTraining(learning_rate=1e-5, fresh_learning_rate=1e-3)
    rates = {
        id(value): group["lr"]
        for group in method.parameter_groups(method.module, training)
        for value in group["params"]
    }
    assert rates[id(method.label_vectors)] == 1e-3
    tower = {name: rates.get(id(value)) for name, value in method.tower.named_parameters()}
    expected = {"all": {1e-5}, "lora": {None, 1e-3}, "frozen": {None}}[tune]
    assert set(tower.values()) == expected
    assert all(("lora_" in name) == (rate == 1e-3) for name, rate in tower.items())


def test_the_prompts_words_are_read_where_word_embeddings_are_trimmed(tiny, logic):
    method = made(tiny.fresh(), logic)
    assert set(tiny.tokenizer("Answer: <mask> .")["input_ids"]) <= method.label_ids()


def test_a_run_trains_the_tower_and_learns(runtime):
    asked = RunSpec(
        method="uniprompt", task="logic", model="tiny", shots=16, draw=1, languages=("en",), test_units=100,
        training=Training(steps=60, checkpoints=3),
    )  # fmt: skip
    record = xlbench.run(asked, runtime)
    layer = sum(value.numel() for value in Backbone.load("tiny").layers[0].parameters())
    alone = sum(value.numel() for value in {id(v): v for v in Backbone.load("tiny").parameters()}.values())
    assert record.costs["trainable_parameters"] == alone + 3 * layer + 3 * 128
    assert record.learnt["movement"]["labels"] > 1e-3
    assert record.scores["accuracy"]["en"] > 0.4  # a third is chance


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(budget=st.integers(1, 4096), share=st.sampled_from([0.5, 0.75]))
def test_scores_do_not_depend_on_the_batches(tiny, logic, budget, share):
    method = started(made(copy.deepcopy(tiny), logic, share=share), logic.draw(1, 0, None).train)
    encoded = method.encode_labelled(list(logic.test("fr", None))[:10])
    whole, parts = (predict(method, encoded, Session(CPU, token_budget=tokens)) for tokens in (4096, budget))
    torch.testing.assert_close(torch.tensor(parts), torch.tensor(whole), atol=3e-5, rtol=1e-5)


# What it refuses


def test_a_prompt_without_a_mask_is_refused(tiny, logic):
    with pytest.raises(XlbenchError, match=r"'It is so\.' of method uniprompt has no <mask>"):
        made(tiny, logic, prompt="It is so.")


def test_the_prompt_is_part_of_what_a_run_is(tiny, logic):
    asked = [made(tiny, logic, prompt=prompt).prompts_read() for prompt in (None, "Answer: <mask> .", "So: <mask>")]
    assert asked[0] == asked[1] != asked[2]


def test_an_encoder_whose_layers_are_not_known_is_refused(tiny, logic):
    other = tiny.fresh()
    other.known_family = False
    with pytest.raises(XlbenchError, match=r"the layers of tiny .* are not known one by one"):
        made(other, logic)


def test_a_run_s_identity_holds_the_label_words_where_its_vectors_begin_as_them(tiny, logic, monkeypatch):
    read = {start: made(tiny, logic, label_start=start).prompts_read() for start in ("words", "states")}
    monkeypatch.setattr(type(logic), "label_words", {"en": ("no", "maybe", "yes")})
    assert made(tiny, logic, label_start="words").prompts_read() != read["words"]
    assert made(tiny, logic, label_start="states").prompts_read() == read["states"]
