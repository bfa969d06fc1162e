"""The files of a pretrained model: families of encoders, what files lack, what they are refused for."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

import xlbench
from xlbench import checkpoint_files
from xlbench.backbone import TINY, Backbone
from xlbench.batching import Batch, collate
from xlbench.errors import XlbenchError
from xlbench.prompts import Template

WORDS = {"vocab_size": 4995, "pad_token_id": 1}
SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "max_position_embeddings": 162, "initializer_range": 0.1, **WORDS,
}  # fmt: skip
DEBERTA = {
    **SMALL, "type_vocab_size": 0, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 64,
    "share_att_key": True, "norm_rel_ebd": "layer_norm", "position_biased_input": False,
}  # fmt: skip
T5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, **WORDS}

# Class of transformers and what its config says.
WITH_HEAD = {
    "albert": ("Albert", {**SMALL, "embedding_size": 16}),
    "bert": ("Bert", SMALL),
    "camembert": ("Camembert", SMALL),
    "deberta": ("Deberta", SMALL),
    "deberta-v2, older head": ("DebertaV2", DEBERTA),
    "deberta-v2, own head": ("DebertaV2", {**DEBERTA, "legacy": False}),
    "distilbert": ("DistilBert", {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, **WORDS}),
    "electra": ("Electra", {**SMALL, "embedding_size": 16}),
    "longformer": ("Longformer", {**SMALL, "attention_window": 16, "type_vocab_size": 1}),
    "modernbert": ("ModernBert", {**SMALL, "bos_token_id": 0, "cls_token_id": 0, "eos_token_id": 2, "sep_token_id": 2}),
    "mpnet": ("MPNet", SMALL),
    "rembert": ("RemBert", {**SMALL, "input_embedding_size": 16, "output_embedding_size": 40}),
    "xlm-roberta": ("XLMRoberta", SMALL),
    "xlm-roberta-xl": ("XLMRobertaXL", SMALL),
}
WITHOUT_HEAD = {
    "electra that tells words apart": ("ElectraForPreTraining", "ElectraConfig", {**SMALL, "embedding_size": 16}),
    "encoder of mt5": ("MT5EncoderModel", "MT5Config", T5),
    "mt5": ("MT5ForConditionalGeneration", "MT5Config", T5),
    "encoder of bert": ("BertModel", "BertConfig", SMALL),
}
FACTORISED = {"albert", "electra", "rembert"}
TEXTS = [
    ("Anna visited Rome.", "Anna visited Moscow."),
    ("Boris is older than Irina, and Irina is older than Anna, who is old.", "Irina is old."),
    ("Борис посетил Москву.", "Anna"),
]


def random_model(name: str, config: str, settings: dict) -> transformers.PreTrainedModel:
    """A model with random weights, biases too: those of a new one are zero, and would not be missed."""
    torch.manual_seed(0)
    model = getattr(transformers, name)(getattr(transformers, config)(**settings))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.normal_(std=0.1)
    return model


def saved(model: transformers.PreTrainedModel, folder: Path) -> str:
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TINY / name, folder)
    return str(folder)


@pytest.fixture(scope="module", params=WITH_HEAD)
def family(request, tmp_path_factory) -> tuple[str, str]:
    """A family's name, and a folder with a random model of it."""
    kind, settings = WITH_HEAD[request.param]
    model = random_model(f"{kind}ForMaskedLM", f"{kind}Config", settings)
    return request.param, saved(model, tmp_path_factory.mktemp("family") / "model")


@pytest.fixture(params=WITHOUT_HEAD)
def headless(request, tmp_path) -> str:
    return saved(random_model(*WITHOUT_HEAD[request.param]), tmp_path / "model")


def batches(backbone: Backbone, end: str = " <mask>") -> tuple[Batch, list[Batch]]:
    """Rows of unlike lengths in one batch, and each in a batch of its own; without `<mask>` read at the first token."""
    template = Template("{premise}<sep>{hypothesis}" + end, ("premise", "hypothesis"), "here")
    encoded, pad = backbone.text(64).encode(template, TEXTS), backbone.tokenizer.pad_token_id
    return collate(encoded, range(len(TEXTS)), pad, "cpu"), [collate(encoded, [i], pad, "cpu") for i in range(3)]


def whole_logits(folder: str, batch: Batch, backbone: Backbone) -> torch.Tensor:
    """The vocabulary's logits at <mask> as transformers computes them, (n, vocabulary)."""
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    types = {"token_type_ids": batch.segments} if getattr(backbone.config, "type_vocab_size", 0) > 1 else {}
    with torch.no_grad():
        logits = model(input_ids=batch.ids, attention_mask=batch.attention, **types).logits
    return logits[torch.arange(len(batch)), batch.read_at]


def spec(method: str, model: str) -> xlbench.RunSpec:
    return xlbench.RunSpec(
        task="logic", method=method, model=model, shots=1, languages=("en", "fr"), test_units=2,
        training=xlbench.Training(steps=2, checkpoints=1),
    )  # fmt: skip


def refusal(model: str, method: str = "finetune", runtime: xlbench.Runtime | None = None) -> str:
    """The one sentence with which a run is refused."""
    with pytest.raises(XlbenchError) as fault:
        xlbench.run(spec(method, model), runtime)
    assert "\n" not in str(fault.value)
    return str(fault.value)


# Families


def test_the_head_gives_the_whole_models_logits(family):
    backbone = Backbone.load(family[1])
    assert backbone.has_masked_lm_head
    assert backbone.reads_right
    batch, _ = batches(backbone)
    with torch.no_grad():
        found = backbone.vocabulary_logits(backbone.mask_features(batch))
    assert torch.allclose(found, whole_logits(family[1], batch, backbone), atol=1e-5)
    assert found.std(dim=0).mean() > 1e-3  # rows that differ


def test_a_row_reads_alone_as_it_reads_among_others(family):
    backbone = Backbone.load(family[1])
    for read, end in ((backbone.mask_features, " <mask>"), (backbone.answer_states, "")):
        batch, singles = batches(backbone, end)
        with torch.no_grad():
            assert torch.allclose(read(batch), torch.cat([read(one) for one in singles]), atol=2e-5)


@pytest.mark.parametrize("method", ["finetune", "soft-prompt", "pct"])
def test_methods_run_on_a_family(family, method, runtime):
    name, folder = family
    if name in FACTORISED and method == "soft-prompt":
        assert "reads embeddings of 16 numbers and has states of 32, so prompt" in refusal(folder, method, runtime)
    else:
        assert xlbench.run(spec(method, folder), runtime).status == "finished"


def test_the_longest_input_is_read_and_one_token_more_is_refused(family):
    backbone = Backbone.load(family[1])
    longest = backbone.config.max_position_embeddings - backbone.first_position
    template = Template("{premise}<sep>{hypothesis}", ("premise", "hypothesis"), "here")
    row = backbone.text(longest).encode(template, [("anna " * 999, "rome")])
    assert row.lengths.tolist() == [longest]
    with torch.no_grad():
        backbone.hidden(collate(row, [0], 1, "cpu"))
    with pytest.raises(XlbenchError, match=f"is more than the {longest} tokens"):
        backbone.text(longest + 1)


def test_an_encoder_without_a_usable_head_is_fine_tuned_and_not_prompted(headless, runtime):
    assert xlbench.run(spec("finetune", headless), runtime).status == "finished"
    assert refusal(headless, "soft-prompt", runtime) == (
        f"the backbone {headless} has no masked-LM head, which method soft-prompt needs; "
        "choose a masked language model, or --method finetune"
    )
    backbone = Backbone.load(headless)
    batch, singles = batches(backbone, "")
    assert not batch.read_at.any()
    with torch.no_grad():
        alone = torch.cat([backbone.answer_states(one) for one in singles])
        assert torch.allclose(backbone.answer_states(batch), alone, atol=2e-5)


@pytest.mark.parametrize("kind", ["XLMWithLMHeadModel", "EsmForMaskedLM"])
def test_a_head_that_is_not_understood_counts_as_none(kind, tmp_path, runtime):
    settings = {
        "XLMWithLMHeadModel": {"emb_dim": 32, "n_layers": 1, "n_heads": 2, **WORDS},
        "EsmForMaskedLM": {**SMALL, "mask_token_id": 4, "token_dropout": False},
    }[kind]
    config = kind.removesuffix("WithLMHeadModel").removesuffix("ForMaskedLM") + "Config"
    folder = saved(random_model(kind, config, settings), tmp_path / "model")
    assert f"has no masked-LM head of a kind that xlbench knows ({kind})" in refusal(folder, "pct", runtime)
    assert xlbench.run(spec("finetune", folder), runtime).status == "finished"


def test_a_head_that_gives_other_logits_than_the_whole_model_counts_as_none(tmp_path, monkeypatch):
    distilbert = random_model("DistilBertForMaskedLM", "DistilBertConfig", WITH_HEAD["distilbert"][1])
    monkeypatch.setattr(checkpoint_files, "HEADS", (("vocab_transform", "vocab_layer_norm"),))  # no activation
    assert not Backbone.load(saved(distilbert, tmp_path / "distilbert")).has_masked_lm_head
    monkeypatch.undo()
    deberta = random_model("DebertaV2ForMaskedLM", "DebertaV2Config", {**DEBERTA, "legacy": False})
    monkeypatch.setattr(checkpoint_files, "_decoder", lambda whole: whole.get_output_embeddings())  # its first layer
    assert not Backbone.load(saved(deberta, tmp_path / "deberta")).has_masked_lm_head


def test_debertas_published_config_does_not_hide_its_own_head(tmp_path):
    """It has neither `legacy` nor `architectures`."""
    model = random_model("DebertaV2ForMaskedLM", "DebertaV2Config", {**DEBERTA, "legacy": False})
    backbone, folder = Backbone.load(saved(model, tmp_path / "new")), tmp_path / "published"
    saved(model, folder)
    change(folder, legacy=None, architectures=None)
    published = Backbone.load(str(folder))
    assert published.has_masked_lm_head
    for ours, theirs in zip(backbone.parameters(), published.parameters(), strict=True):
        assert torch.equal(ours, theirs)


# A backbone that cannot see to its right, or is no encoder


@pytest.mark.parametrize("kind", ["GPT2LMHeadModel", "BertLMHeadModel"])
@pytest.mark.parametrize("method", ["finetune", "soft-prompt"])
def test_a_causal_model_is_refused_for_what_it_is(kind, method, tmp_path, runtime):
    settings = {"BertLMHeadModel": {**SMALL, "is_decoder": True}}.get(
        kind, {"n_embd": 32, "n_layer": 1, "n_head": 2, "vocab_size": 4995}
    )
    folder = saved(random_model(kind, kind.removesuffix("LMHeadModel") + "Config", settings), tmp_path / "model")
    assert not Backbone.load(folder).reads_right
    assert refusal(folder, method, runtime) == (
        f"the backbone {folder} is causal: no token sees those after it, and method {method} reads one "
        "that must see the whole text; choose an encoder, such as XLM-R"
    )


def test_a_tokenizer_that_begins_no_text_is_refused_with_a_way_out(tmp_path, runtime):
    """T5's own: what `finetune` reads first would be a word."""
    folder = saved(random_model("MT5EncoderModel", "MT5Config", T5), tmp_path / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 2)]
    )
    tokenizer.save_pretrained(folder)
    sentence = refusal(folder, "finetune", runtime)
    assert "does not frame a pair of texts as begin, sep, end; choose a backbone whose tokenizer does" in sentence


def test_a_causal_model_is_refused_before_its_tokenizer(tmp_path, runtime):
    """GPT-2's own neither pads nor frames texts, which would be another's fault to name."""
    model = random_model("GPT2LMHeadModel", "GPT2Config", {"n_embd": 32, "n_layer": 1, "n_head": 2, "vocab_size": 3})
    model.save_pretrained(tmp_path)
    raw = Tokenizer(models.WordLevel({"<|endoftext|>": 0, "anna": 1, "a": 2}, unk_token="<|endoftext|>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|endoftext|>")
    tokenizer.save_pretrained(tmp_path)
    assert "is causal" in refusal(str(tmp_path), "finetune", runtime)


def test_a_model_that_is_no_encoder_of_texts_is_refused(tmp_path):
    bart = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
            "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, **WORDS}  # fmt: skip
    folder = saved(random_model("BartForConditionalGeneration", "BartConfig", bart), tmp_path / "bart")
    assert "is an encoder with a decoder" in refusal(folder)
    vit = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    folder = saved(random_model("ViTModel", "ViTConfig", vit), tmp_path / "vit")
    assert "does not read texts as an encoder does" in refusal(folder)


def test_a_model_that_reads_padding_is_refused(tmp_path):
    """FNet mixes all positions, whatever the attention mask says."""
    settings = {name: value for name, value in SMALL.items() if name != "num_attention_heads"}
    folder = saved(random_model("FNetForMaskedLM", "FNetConfig", settings), tmp_path / "model")
    assert "reads padding as text" in refusal(folder)


def test_to_load_a_model_draws_nothing_at_random(headless, tmp_path):
    whole = copy_of_tiny(tmp_path)
    for folder in (str(whole), headless):
        torch.manual_seed(7)
        np.random.seed(7)
        before = torch.get_rng_state(), np.random.get_state()[1].tolist()
        Backbone.load(folder)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.random.get_state()[1].tolist() == before[1]


# What files lack


def copy_of_tiny(parent: Path) -> Path:
    folder = parent / "tiny"
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return folder


def change(folder: Path, file: str = "config.json", **fields: object) -> None:
    """Write fields into a JSON file of a model; None leaves one out."""
    found = {**json.loads((folder / file).read_text()), **fields}
    (folder / file).write_text(json.dumps({name: value for name, value in found.items() if value is not None}))


def keep(folder: Path, kept) -> dict[str, torch.Tensor]:
    """Leave only some weights in a folder, and return the others."""
    weights = load_file(folder / "model.safetensors")
    save_file({n: w for n, w in weights.items() if kept(n)}, folder / "model.safetensors", metadata={"format": "pt"})
    return {name: weight for name, weight in weights.items() if not kept(name)}


@pytest.mark.parametrize("claims", ["XLMRobertaForMaskedLM", "XLMRobertaModel", None])
def test_missing_weights_of_the_encoder_are_named(tmp_path, claims):
    folder = copy_of_tiny(tmp_path)
    change(folder, architectures=claims and [claims])
    gone = keep(folder, lambda name: ".layer.1." not in name)
    assert refusal(str(folder)) == (
        f"the files of {folder} lack {len(gone)} weights of its encoder ({min(gone)}, …), which would be random; "
        "give a whole checkpoint"
    )


def test_missing_weights_are_named_where_the_family_has_no_masked_lm(tmp_path):
    folder = Path(saved(random_model("MT5EncoderModel", "MT5Config", T5), tmp_path / "model"))
    keep(folder, lambda name: "final_layer_norm" not in name)
    assert f"the files of {folder} lack 1 weights of its encoder (encoder.final_layer_norm.weight)" in refusal(
        str(folder)
    )


@pytest.mark.parametrize("missing", ["lm_head.bias", "lm_head.dense.weight"])
def test_a_head_without_one_weight_is_named_by_it(tmp_path, missing, runtime):
    folder = copy_of_tiny(tmp_path)
    gone = keep(folder, lambda name: name != missing)
    assert list(gone) == [missing]
    assert refusal(str(folder), "pct", runtime) == (
        f"the backbone {folder} has a masked-LM head without {missing}, which method pct needs; "
        "choose a masked language model, or --method finetune"
    )
    assert xlbench.run(spec("finetune", str(folder)), runtime).status == "finished"


def test_a_head_is_found_whatever_the_config_says_of_it(tiny, tmp_path):
    folder = copy_of_tiny(tmp_path)
    change(folder, architectures=None)
    found = Backbone.load(str(folder))
    batch, _ = batches(tiny)
    with torch.no_grad():
        assert torch.equal(found.mask_features(batch), tiny.mask_features(batch))


def test_weights_that_nothing_reads_are_no_fault(tiny, tmp_path):
    folder = copy_of_tiny(tmp_path)
    weights = load_file(folder / "model.safetensors")
    more = {"roberta.embeddings.position_ids": torch.arange(9)[None], "classifier.weight": torch.zeros(3, 128)}
    save_file(weights | more, folder / "model.safetensors", metadata={"format": "pt"})
    found = Backbone.load(str(folder))
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), tiny.parameters(), strict=True))


# What does not fit together


def test_a_config_of_another_size_is_named_with_both_shapes(tmp_path):
    folder = copy_of_tiny(tmp_path)
    change(folder, vocab_size=5000)
    sentence = refusal(str(folder))
    assert f"the weights of {folder} do not fit its config.json" in sentence
    assert "(lm_head.bias [4995] in place of [5000], …)" in sentence


def test_weights_that_are_not_finite_are_named(tmp_path):
    folder = copy_of_tiny(tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["roberta.encoder.layer.2.output.dense.weight"][3, 5] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    sentence = refusal(str(folder))
    assert f"1 weights of {folder} hold numbers that are not finite (roberta.encoder.layer.2.output.dense" in sentence


def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused(tmp_path):
    folder = copy_of_tiny(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["xlbenchword"])
    tokenizer.save_pretrained(folder)
    assert f"the tokenizer of {folder} has token ids up to 4995 and the model has embeddings up to 4994" in refusal(
        str(folder)
    )


def test_a_tokenizer_without_a_pad_token_is_refused(tmp_path):
    folder = copy_of_tiny(tmp_path)
    change(folder, "tokenizer_config.json", pad_token=None)
    assert f"the tokenizer of {folder} has no pad token; name it in tokenizer_config.json" in refusal(str(folder))


def test_a_config_without_a_pad_token_takes_the_tokenizers(tiny, tmp_path):
    folder = copy_of_tiny(tmp_path)
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**fields, "pad_token_id": None}))
    found = Backbone.load(str(folder))
    batch, _ = batches(tiny)
    with torch.no_grad():
        assert torch.equal(found.mask_features(batch), tiny.mask_features(batch))


def test_embeddings_are_trimmed_where_the_family_pads_with_another_id(tmp_path):
    """MPNet's embeddings take id 1 for padding; here that is a word, and no row has it."""
    folder = saved(random_model("MPNetForMaskedLM", "MPNetConfig", SMALL), tmp_path / "model")
    change(Path(folder), "tokenizer_config.json", pad_token="<unk>")
    backbone = Backbone.load(folder).fresh()
    batch, _ = batches(backbone)
    pad = backbone.tokenizer.pad_token_id
    assert pad != 1
    assert 1 not in batch.ids
    with torch.no_grad():
        before = backbone.mask_features(batch)
        assert backbone.trim(np.unique([pad, *batch.ids.flatten().tolist()]))
        assert torch.equal(backbone.mask_features(batch), before)


def test_the_lines_for_a_pickled_checkpoint_make_one_that_loads_the_same(tiny, tmp_path):
    folder = copy_of_tiny(tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.decoder.weight"] = weights[
        "roberta.embeddings.word_embeddings.weight"
    ]  # shared, as torch saves it
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    sentence = refusal(str(folder))
    assert f"{folder} holds no .safetensors file; only safetensors weights are read; python -c " in sentence
    lines = sentence.split('python -c "')[1].split('"')[0]
    subprocess.run([sys.executable, "-c", lines], check=True, capture_output=True)
    found = Backbone.load(str(folder))
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), tiny.parameters(), strict=True))
