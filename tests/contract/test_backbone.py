"""A pretrained model: scores at <mask>, copies to train, checkpoints that cannot be used."""

import copy
import json
import math
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    PreTrainedTokenizerFast,
    XLMRobertaForSequenceClassification,
    XLMRobertaModel,
)

import xlbench
import xlbench.backbone as backbone_module
from xlbench import registry
from xlbench.backbone import TINY, Backbone
from xlbench.batching import Batch, collate
from xlbench.engine.session import trained_parameters
from xlbench.errors import XlbenchError
from xlbench.prompts import Encoded, Template, Verbalizer
from xlbench.spec import Lora
from xlbench.task import Task

FIELDS = ("premise", "hypothesis")
ROWS = [
    ("Anna visited Rome.", "Anna visited Moscow."),
    ("Boris is older than Irina.", "Irina is old."),
    ("Борис посетил Москву.", "Anna"),
    ("Anna 访问了罗马。", "Boris n'a pas visité Rome, ni Anna ni Irina."),
]


def encode(backbone: Backbone, text: str, vectors: int = 0) -> Encoded:
    return backbone.text(64).encode(Template(text, FIELDS, "here"), ROWS, vectors)


def batch_of(backbone: Backbone, text: str = "{premise}<sep>{hypothesis} <mask>", vectors: int = 0) -> Batch:
    return collate(encode(backbone, text, vectors), range(len(ROWS)), backbone.tokenizer.pad_token_id, "cpu")


def whole_logits(folder: Path | str, batch: Batch, **more: torch.Tensor) -> torch.Tensor:
    """The vocabulary's logits at <mask> as transformers computes them, (n, vocabulary)."""
    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    with torch.no_grad():
        logits = model(input_ids=batch.ids, attention_mask=batch.attention, **more).logits
    return logits[torch.arange(len(batch)), batch.read_at]


def snapshot(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


# The shortcut: the head at one position, the label words' rows of the decoder


def test_label_words_score_as_the_whole_model_scores_them_at_the_mask(tiny):
    batch = batch_of(tiny)
    verbalizer = Verbalizer.of(tiny.tokenizer, ["yes", "maybe", "no"])
    with torch.no_grad():
        features = tiny.mask_features(batch)
        found, vocabulary = tiny.label_logits(features, verbalizer), tiny.vocabulary_logits(features)
    whole = whole_logits(TINY, batch)
    words = tiny.tokenizer.convert_tokens_to_ids(["yes", "maybe", "no"])
    assert torch.allclose(found, whole[:, words], atol=1e-5)
    assert torch.allclose(vocabulary, whole, atol=1e-5)
    assert found.std() > 1e-3  # not all the same by accident


def test_scores_do_not_see_the_padding(tiny):
    encoded = encode(tiny, "{premise}<sep>{hypothesis} <mask>")
    pad = tiny.tokenizer.pad_token_id
    with torch.no_grad():
        together = tiny.mask_features(collate(encoded, range(len(ROWS)), pad, "cpu"))
        alone = torch.cat([tiny.mask_features(collate(encoded, [i], pad, "cpu")) for i in range(len(ROWS))])
    assert torch.allclose(together, alone, atol=1e-5)


# Prompt vectors


def test_ids_below_zero_are_replaced_by_the_prompts_vectors(tiny):
    """A prompt that holds the embeddings of words gives what the words themselves give."""
    words = tiny.tokenizer.convert_tokens_to_ids(["yes", "no", "maybe"])
    ours = batch_of(tiny, "{premise} <prompt> {hypothesis} <mask>", 3)
    spelled = ours.ids.clone()
    for number, word in enumerate(words):
        spelled[ours.ids == -1 - number] = word
    theirs = Batch(spelled, ours.attention, ours.read_at, ours.segments, ours.language, ours.labels)
    with torch.no_grad():
        vectors = tiny.encoder.get_input_embeddings()(torch.tensor(words))
        assert torch.equal(tiny.hidden(ours, vectors), tiny.hidden(theirs))
        assert not torch.allclose(tiny.hidden(ours, vectors.flip(0)), tiny.hidden(theirs), atol=1e-3)


def test_one_prompt_for_all_rows_and_the_same_prompt_for_each_agree(tiny):
    batch = batch_of(tiny, "{premise} {hypothesis} <prompt> <mask>", 4)
    torch.manual_seed(0)
    prompts = torch.randn(len(batch), 4, tiny.dimension)
    with torch.no_grad():
        shared = tiny.mask_features(batch, prompts[0])
        assert torch.equal(shared, tiny.mask_features(batch, prompts[0].expand(len(batch), -1, -1)))
        own = tiny.mask_features(batch, prompts)
        for number, prompt in enumerate(prompts):
            assert torch.allclose(own[number], tiny.mask_features(batch, prompt)[number], atol=1e-5)
        assert not torch.allclose(own[1], shared[1], atol=1e-3)


# Copies to train


def train_a_little(module: torch.nn.Module, backbone: Backbone) -> None:
    parameters = [value for value in module.parameters() if value.requires_grad]
    optimiser = torch.optim.SGD(parameters, lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        backbone.vocabulary_logits(backbone.mask_features(batch_of(backbone))).logsumexp(-1).mean().backward()
        optimiser.step()


def test_training_a_copy_leaves_the_original_as_it_was(tiny):
    before = snapshot(tiny)
    ours = tiny.fresh()
    assert same(snapshot(ours), before)
    train_a_little(ours, ours)
    assert not same(snapshot(ours), before)
    assert same(snapshot(tiny), before)
    assert same(snapshot(tiny.fresh()), before)


def test_a_copys_decoder_stays_tied_to_its_own_embeddings(tiny):
    ours = tiny.fresh()
    assert ours.decoder.weight is ours.encoder.get_input_embeddings().weight
    assert ours.decoder.weight is not tiny.decoder.weight


def test_with_lora_only_adapters_train_and_the_head_stays(tiny):
    ours = tiny.fresh("lora", Lora(rank=4))
    trained = trained_parameters(ours)
    assert trained
    assert all("lora_" in name for name in trained)
    assert all(name.startswith("encoder.") for name in trained)
    assert {value.shape[0] for name, value in trained.items() if "lora_A" in name} == {4}
    with torch.no_grad():  # an adapter begins as nothing
        assert torch.allclose(ours.mask_features(batch_of(ours)), tiny.mask_features(batch_of(tiny)), atol=1e-6)
    before = snapshot(ours)
    train_a_little(ours, ours)
    changed = {name for name, value in snapshot(ours).items() if not torch.equal(value, before[name])}
    assert changed
    assert changed <= set(trained)
    with torch.no_grad():
        assert not torch.allclose(ours.mask_features(batch_of(ours)), tiny.mask_features(batch_of(tiny)), atol=1e-4)


def test_frozen_trains_nothing_and_original_trains_on(tiny):
    assert trained_parameters(tiny.fresh("frozen")) == {}
    assert all(value.requires_grad for value in tiny.fresh().parameters())


def test_a_backbone_is_read_once_and_named_by_what_is_in_it(tiny, tmp_path):
    assert Backbone.load("tiny") is tiny
    folder = copy_of_tiny(tmp_path)
    assert Backbone.load(str(folder)).revision == tiny.revision
    other = copy_of_tiny(tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "recommended_learning_rate": 3e-4}))
    assert Backbone.load(str(other)).revision != tiny.revision
    assert Backbone.load(str(other)).recommended_learning_rate == 3e-4


def test_a_length_the_backbone_cannot_read_is_an_error(tiny):
    reads = tiny.config.max_position_embeddings - tiny.config.pad_token_id - 1
    tiny.text(reads)
    with pytest.raises(XlbenchError, match=f"--max-length {reads + 1} is more than the {reads} tokens tiny reads"):
        tiny.text(reads + 1)
    row = tiny.text(reads).encode(Template("{premise}<sep>{hypothesis}", FIELDS, "here"), [("anna " * 999, "rome")])
    assert row.lengths.tolist() == [reads]
    with torch.no_grad():
        tiny.hidden(collate(row, [0], 1, "cpu"))


# Checkpoints of other kinds


def copy_of_tiny(parent: Path) -> Path:
    folder = parent / "model"
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return folder


def saved(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, folder: Path) -> str:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(params=["encoder alone", "classifier", "encoder that claims a head"])
def headless(request, tiny, tmp_path) -> str:
    config = copy.deepcopy(tiny.config)
    config.num_hidden_layers = 1
    kind = XLMRobertaForSequenceClassification if request.param == "classifier" else XLMRobertaModel
    folder = saved(kind(config), tiny.tokenizer, tmp_path / "headless")
    if request.param == "encoder that claims a head":
        fields = json.loads((tmp_path / "headless" / "config.json").read_text())
        (tmp_path / "headless" / "config.json").write_text(
            json.dumps({**fields, "architectures": ["XLMRobertaForMaskedLM"]})
        )
    return folder


def spec(method: str, model: str) -> xlbench.RunSpec:
    return xlbench.RunSpec(
        task="logic", method=method, model=model, shots=1, languages=("en",), test_units=2,
        training=xlbench.Training(steps=1, checkpoints=1),
    )  # fmt: skip


def test_without_a_masked_lm_head_prompts_are_refused_and_fine_tuning_works(headless, runtime):
    backbone = Backbone.load(headless)
    assert not backbone.has_masked_lm_head
    for ask in (partial(backbone.label_logits, verbalizer=None), backbone.vocabulary_logits):
        with pytest.raises(XlbenchError, match="has no masked-LM head; choose a masked language model or `finetune`"):
            ask(torch.zeros(1, backbone.dimension))
    with pytest.raises(XlbenchError, match="has no masked-LM head"):
        backbone.mask_features(batch_of(backbone))
    with pytest.raises(XlbenchError) as fault:
        xlbench.run(spec("soft-prompt", headless), runtime)
    assert str(fault.value) == (
        f"the backbone {headless} has no masked-LM head, which method soft-prompt needs; "
        "choose a masked language model, or --method finetune"
    )
    assert xlbench.run(spec("finetune", headless), runtime).status == "finished"


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    for name in (str(tmp_path / "nothing"), "./nothing", "~/no/such/model"):
        with pytest.raises(XlbenchError, match="does not exist; give a folder, a hub id, or tiny"):
            Backbone.load(name)


def test_weights_that_are_not_safetensors_are_not_read(tiny, tmp_path):
    folder = copy_of_tiny(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(XlbenchError, match=r"holds no \.safetensors file; only safetensors weights are read"):
        Backbone.load(str(folder))


@pytest.mark.parametrize("broken", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_broken_file_is_one_sentence(tmp_path, broken):
    folder = copy_of_tiny(tmp_path)
    file = folder / broken
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(XlbenchError) as fault:
        Backbone.load(str(folder))
    assert f"cannot load a model from the folder {folder}" in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_folder_without_a_tokenizer_is_an_error(tmp_path):
    folder = copy_of_tiny(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(XlbenchError, match=r"no fast tokenizer \(tokenizer.json\), which xlbench needs"):
        Backbone.load(str(folder))


# BERT: WordPiece, one separator, token types


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Backbone:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "yes", "maybe", "no", "anna", "boris", "visited", "rome",
             "moscow", "is", "old", "##er", "than", "irina", "question", "answer", ".", "?", ":", ","]  # fmt: skip
    vocabulary = {word: number for number, word in enumerate(words)}
    raw = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, initializer_range=0.5,
    )  # fmt: skip
    return Backbone.load(saved(BertForMaskedLM(config), tokenizer, tmp_path_factory.mktemp("bert")))


def test_bert_frames_two_texts_with_one_separator_and_token_types(bert):
    batch = batch_of(bert, "{premise}<sep>question: {hypothesis}? Answer: <mask>")
    first = bert.tokenizer.convert_ids_to_tokens(batch.ids[0][batch.attention[0] == 1])
    assert " ".join(first) == "[CLS] anna visited rome . [SEP] question : anna visited moscow . ? answer : [MASK] [SEP]"
    assert batch.segments[0].tolist()[: len(first)] == [0] * 6 + [1] * (len(first) - 6)


def test_bert_scores_as_transformers_scores(bert):
    batch = batch_of(bert)
    with torch.no_grad():
        features = bert.mask_features(batch)
        words = bert.label_logits(features, Verbalizer.of(bert.tokenizer, ["yes", "maybe", "no"]))
        vocabulary = bert.vocabulary_logits(features)
    whole = whole_logits(bert.name, batch, token_type_ids=batch.segments)
    assert torch.allclose(vocabulary, whole, atol=1e-5)
    assert torch.allclose(words, whole[:, [5, 6, 7]], atol=1e-5)
    blind = whole_logits(bert.name, batch)  # without token types it is another number
    assert not torch.allclose(whole, blind, atol=1e-3)


@pytest.mark.parametrize("name", ["finetune", "soft-prompt", "pct", "mpt"])
def test_every_method_scores_rows_with_bert(bert, logic: Task, name):
    method_class = registry.get("method", name)
    backbone = bert.fresh()
    method = method_class(method_class.Config(), backbone, logic, ("en", "fr"), 64)
    method.build(backbone, logic).eval()
    rows = logic.test("en", None)[:5]
    batch = collate(method.encode_labelled(rows), range(5), 0, "cpu")
    with torch.no_grad():
        scores = method.score(batch)
    assert scores.shape == (5, 3)
    assert torch.allclose(scores.exp().sum(-1), torch.ones(5))


def test_a_batch_of_unlike_lengths_is_read_a_few_rows_at_a_time_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny, random = Backbone.load("tiny").fresh(), np.random.default_rng(0)
    lengths = [5, 90, 7, 30, 6, 60, 8, 12, 40]
    ids = [np.concatenate([[0, -1, -2], random.integers(10, 500, length), [2]]) for length in lengths]
    numbers = np.zeros(len(lengths), dtype=np.int64)
    encoded = Encoded(ids, numbers + 3, numbers + 4, numbers, numbers)
    batch = collate(encoded, range(len(ids)), tiny.tokenizer.pad_token_id, "cpu")
    prompt = torch.randn(len(ids), 2, tiny.dimension, generator=torch.manual_seed(0)).requires_grad_()
    words = tiny.encoder.get_input_embeddings().weight  # type: ignore[operator, union-attr]
    found = []
    for worthwhile in (0.0, math.inf):
        monkeypatch.setattr(backbone_module, "WORTHWHILE", worthwhile)
        features = tiny.transform(tiny.answer_states(batch, prompt))
        gradients = torch.autograd.grad(features.pow(2).sum(), (words, prompt))
        found.append((features.detach(), *gradients))
    for few, whole in zip(*found, strict=True):
        torch.testing.assert_close(few, whole, atol=1e-5 * float(whole.abs().max()), rtol=1e-4)


def test_the_features_of_a_mask_that_no_row_has_are_refused(tiny) -> None:
    encoded = Encoded([np.array([0, 40, 41, 2])], *(np.zeros(1, dtype=np.int64),) * 3)
    batch = collate(encoded, [0], tiny.tokenizer.pad_token_id, "cpu")
    with pytest.raises(XlbenchError, match="of a row without one; its template needs a <mask>"):
        tiny.mask_features(batch)


# States on the way


@pytest.mark.parametrize("tune", ["all", "lora"])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_what_stands_between_two_layers_leads_to_the_last_states_to_the_bit(tiny, tune, depth):
    backbone, batch = tiny.fresh(tune), batch_of(tiny)
    assert batch.padding
    halfway = backbone.states(batch, depth)
    assert torch.equal(backbone.onward(halfway, batch.attention, depth), backbone.hidden(batch))
    at = backbone.onward(halfway, batch.attention, depth, position=batch.read_at)
    torch.testing.assert_close(at, backbone.answer_states(batch), atol=1e-5, rtol=1e-5)
    assert torch.equal(backbone.states(batch, backbone.depth), backbone.hidden(batch))


def test_states_on_the_way_are_those_that_transformers_gives(tiny):
    batch = batch_of(tiny)
    backbone = tiny.fresh()
    backbone.known_family = False
    for depth in range(tiny.depth):
        expected = backbone.states(batch, depth)  # by transformers' own way, all layers run
        kept = batch.attention.bool()
        torch.testing.assert_close(tiny.states(batch, depth)[kept], expected[kept], atol=1e-5, rtol=1e-5)


def test_a_copied_part_is_pretrained_and_its_adapters_are_not(tiny):
    backbone = tiny.fresh("lora")
    copied = backbone.copied(backbone.layers[:2])
    pretrained = backbone.pretrained()
    named = dict(copied.named_parameters())
    assert {name for name, value in named.items() if id(value) not in pretrained} == {n for n in named if "lora_" in n}
    assert any("lora_" in name for name in named)
