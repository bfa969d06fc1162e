"""The files of a pretrained model, read and checked: its encoder, its masked-LM head, its tokenizer.

Safetensors only, never code from a hub. What the files lack is never made up: a weight without a number of its own
would be a random one, and another in each process.
"""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xlbench.errors import XlbenchError, one_line
from xlbench.last_layer import wrap_last_layer
from xlbench.sources import NO_ANSWER, hub_answers, hub_reason

TINY = Path(__file__).parent / "tiny"

# What stands before the decoder in each family's masked-LM head, in the order in which it computes. The decoder may
# be part of it (RoBERTa's `lm_head`, BERT's `cls`) or stand beside it.
HEADS = (
    ("lm_head",),
    ("cls",),
    ("predictions",),
    ("head",),
    ("generator_predictions",),
    ("vocab_transform", "activation", "vocab_layer_norm"),
    tuple(f"lm_predictions.lm_head.{part}" for part in ("dense", "transform_act_fn", "LayerNorm")),
)

SAME = 1e-6  # of the largest number: so far apart is what is summed in another order
SOME = 256  # words whose logits tell whether the head is understood

# What makes safetensors of pytorch_model.bin, weight by weight.
CONVERSION = (
    "from safetensors.torch import save_file; from transformers.modeling_utils import load_state_dict",
    "save_file({{k: v.clone() for k, v in load_state_dict('{old}').items()}}, '{new}', {{'format': 'pt'}})",
)


@dataclass(frozen=True)
class Checkpoint:
    """What a model's files hold, on the CPU in fp32.

    `transform` and `decoder`: the masked-LM head before its decoder, and that. Both are None where the files hold no
    head that can be used, and `headless` says what they hold. `reads_right`: whether a token sees those after it.
    """

    encoder: nn.Module
    transform: nn.Module | None
    decoder: nn.Linear | None
    headless: str
    reads_right: bool
    tokenizer: Any
    revision: str


def read_checkpoint(model: str, revision: str | None) -> Checkpoint:
    """The checkpoint of a hub id, a folder, or `tiny`.

    Raises XlbenchError: no such folder or model, no safetensors, weights that are missing, of another shape or not
    finite, no fast tokenizer, a tokenizer that is not the model's, a model that is no encoder of texts.
    """
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    folder = model_folder(model)
    place, digest = str(folder) if folder else model, _digest(folder, model, revision) if folder else ""
    options: dict[str, Any] = {"trust_remote_code": False}
    options |= {"local_files_only": True} if folder else {"revision": revision}
    try:
        if not folder:
            hub_answers()  # or its clients are set to work offline
        config = transformers.AutoConfig.from_pretrained(place, **options)
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, use_fast=True, **options)
        if getattr(config, "pad_token_id", None) is None:  # RoBERTa's positions are counted from it
            config.pad_token_id = tokenizer.pad_token_id
        network, report = _weights(place, config, model, options)
    except XlbenchError:
        raise
    except Exception as fault:  # a broken folder, a hub out of reach, a config of another kind
        if folder:
            first = "".join(str(fault).strip().splitlines()[:1])
            raise XlbenchError(
                f"cannot load a model from the folder {folder} ({type(fault).__name__}: {first})"
            ) from fault
        reason = hub_reason(fault) if hub_answers() else NO_ANSWER
        raise XlbenchError(
            f"cannot load the model {model!r} from the hub ({reason}); give --model FOLDER or --model tiny, and "
            "--data-root DIR for the data, to work without the hub"
        ) from fault
    # Without tokenizer files transformers makes up a tokenizer that knows only its special tokens.
    words = set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)
    if not words or not getattr(tokenizer, "is_fast", False):
        raise XlbenchError(f"{model} has no fast tokenizer (tokenizer.json), which xlbench needs")
    headless = _refuse_gaps(network, report, model)
    encoder = network.base_model
    wrap_last_layer(encoder)
    reads_right, hidden, logits = _probe(network, model)
    _fit_tokenizer(tokenizer, encoder, model, pads=reads_right)
    transform, decoder = (None, None) if headless else _head(network, hidden, logits)
    if not headless and decoder is None:
        headless = f"no masked-LM head of a kind that xlbench knows ({type(network).__name__})"
    commit = digest or str(getattr(config, "_commit_hash", None) or revision or "unknown")
    return Checkpoint(encoder, transform, decoder, headless, reads_right, tokenizer, commit)


def _weights(place: str, config: Any, model: str, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The model with its masked-LM head, where its family has one, and what its files lack or have too much."""
    from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForTextEncoding
    from transformers.models.auto import modeling_auto as auto

    translates, kind = getattr(config, "is_encoder_decoder", False), AutoModel
    if type(config) in auto.MODEL_FOR_MASKED_LM_MAPPING and not translates:
        kind = AutoModelForMaskedLM
    elif type(config) in auto.MODEL_FOR_TEXT_ENCODING_MAPPING:  # of T5 the encoder alone
        kind = AutoModelForTextEncoding
    elif translates:
        raise XlbenchError(
            f"the model {model} ({config.model_type}) is an encoder with a decoder, which xlbench does not take apart; "
            "choose an encoder, such as XLM-R"
        )
    settings = {**options, "config": config, "use_safetensors": True, "dtype": torch.float32}
    settings |= {"output_loading_info": True, "ignore_mismatched_sizes": True}  # which are refused by name below
    with torch.random.fork_rng(devices=[]):  # a head that the files lack is drawn at random, and thrown away
        network, report = kind.from_pretrained(place, **settings)
        own_head = any(name.startswith("lm_predictions.") for name in report["unexpected_keys"])
        if own_head and getattr(config, "legacy", False):
            config.legacy = False  # the published configs of DeBERTa do not say that the head is its own
            network, report = kind.from_pretrained(place, **settings)
    return network, report


def _refuse_gaps(network: Any, report: dict[str, Any], model: str) -> str:
    """What the files hold in place of a masked-LM head; empty where they hold a whole one.

    Raises XlbenchError for weights of the encoder that they lack, or have in another shape or without a number.
    """
    inner = "" if network.base_model is network else f"{network.base_model_prefix}."
    mismatched = sorted(report["mismatched_keys"])
    shapes = [f"{name} {list(ours)} in place of {list(theirs)}" for name, ours, theirs in mismatched]
    if shapes:
        raise XlbenchError(
            f"the weights of {model} do not fit its config.json ({_first_of(shapes)}); give config and weights of "
            "one model"
        )
    missing = sorted(report["missing_keys"])
    gaps = [name for name in missing if name.startswith(inner) and "pooler" not in name]
    if gaps:
        raise XlbenchError(
            f"the files of {model} lack {len(gaps)} weights of its encoder ({_first_of(gaps)}), which would be random; "
            "give a whole checkpoint"
        )
    spoilt = [name for name, weight in network.named_parameters() if not weight.detach().sum().isfinite()]
    if spoilt:
        raise XlbenchError(
            f"{len(spoilt)} weights of {model} hold numbers that are not finite ({_first_of(spoilt)}); "
            "give a checkpoint whose training did not diverge"
        )
    own = {id(weight) for weight in network.base_model.parameters()}
    head = {name for name, weight in network.named_parameters() if id(weight) not in own} if inner else set()
    if head <= set(missing):
        return "no masked-LM head"
    parts = sorted(head.intersection(missing))
    return f"a masked-LM head without {_first_of(parts)}" if parts else ""


def _first_of(names: Iterable[str]) -> str:
    """The first of some names, and whether there are more."""
    first, *others = names
    return f"{first}, …" if others else first


@torch.no_grad()
def _probe(network: Any, model: str) -> tuple[bool, Tensor, Tensor | None]:
    """Whether the first of three tokens sees the last; the encoder's states, (3, d), and the head's logits, (3, v).

    The tokens are vectors that no model has seen, so that two of them are never one. Draws nothing at random.
    Raises XlbenchError where the model is no encoder of texts, or the first token sees the last as padding too.
    """
    try:
        width = network.get_input_embeddings().weight.shape[1]
        rows = torch.arange(3.0 * width).sin().view(1, 3, width).repeat(4, 1, 1)
        rows[1::2, -1] = rows[0, -1].flip(-1)
        attention = torch.ones(4, 3, dtype=torch.long)
        attention[2:, -1] = 0
        states: Tensor = network.base_model(inputs_embeds=rows, attention_mask=attention)[0]
        logits = None
        if network.base_model is not network:
            logits = network(inputs_embeds=rows[:1], attention_mask=attention[:1])[0][0]
    except Exception as fault:  # an image model, a model of pairs: each fails in a way of its own
        raise XlbenchError(
            f"the model {model} ({type(network).__name__}) does not read texts as an encoder does "
            f"({type(fault).__name__}: {one_line(fault)[:200]}); choose an encoder, such as XLM-R"
        ) from fault
    moved, by_padding = (
        (states[row, 0] - states[row + 1, 0]).abs().max() > SAME * states.abs().max() for row in (0, 2)
    )
    if by_padding:
        raise XlbenchError(
            f"the model {model} ({type(network).__name__}) reads padding as text, so that what it says of a row "
            "depends on the rows beside it; choose an encoder with attention, such as XLM-R"
        )
    return bool(moved), states[0], logits


def _fit_tokenizer(tokenizer: Any, encoder: Any, model: str, pads: bool) -> None:
    """Let the embeddings know which id is padding.

    Raises XlbenchError for a tokenizer with ids that the encoder does not have, or without the padding it needs.
    """
    words = encoder.get_input_embeddings()
    largest, rows = max(tokenizer.get_vocab().values()), len(words.weight)
    if largest >= rows:
        raise XlbenchError(
            f"the tokenizer of {model} has token ids up to {largest} and the model has embeddings up to {rows - 1}; "
            "give the tokenizer that the model was trained with"
        )
    if pads and tokenizer.pad_token_id is None:
        raise XlbenchError(
            f'the tokenizer of {model} has no pad token; name it in tokenizer_config.json ("pad_token": "<pad>")'
        )
    if getattr(words, "padding_idx", None) is not None:  # MPNet has 1 there, whatever its tokenizer pads with
        words.padding_idx = tokenizer.pad_token_id


def _head(network: Any, hidden: Tensor, logits: Tensor | None) -> tuple[nn.Module | None, nn.Linear | None]:
    """The masked-LM head with its decoder taken out, (…, d) → (…, e), and that; None where they are not found, or
    do not give the whole model's `logits`, (3, v), of the states `hidden`, (3, d)."""
    decoder, modules = _decoder(network), dict(network.named_modules())
    parts = next(([modules[name] for name in names] for names in HEADS if names[0] in modules), [])
    if not parts or not isinstance(decoder, nn.Linear) or logits is None:
        return None, None
    transform = parts[0] if len(parts) == 1 else nn.Sequential(*parts)
    for parent in transform.modules():
        for name, child in parent.named_children():
            if child is decoder:
                setattr(parent, name, nn.Identity())
    bias = None if decoder.bias is None else decoder.bias[:SOME]
    try:
        with torch.no_grad():
            off = nn.functional.linear(transform(hidden), decoder.weight[:SOME], bias) - logits[:, :SOME]
    except (RuntimeError, TypeError, AttributeError):  # it does not compute without its decoder, or from states alone
        return None, None
    return (transform, decoder) if off.abs().max() <= 10 * SAME * logits.abs().max() else (None, None)


def _decoder(network: Any) -> nn.Module | None:
    """The decoder, (vocabulary, d); DeBERTa's own head has none, it reads the word embeddings and adds a bias."""
    own = getattr(network, "lm_predictions", None)
    if own is None:
        return network.get_output_embeddings()
    weight = network.get_input_embeddings().weight
    decoder = nn.Linear(weight.shape[1], weight.shape[0], device="meta")  # draws nothing
    decoder.weight, decoder.bias = weight, own.lm_head.bias
    return decoder


def model_folder(model: str) -> Path | None:
    """The folder that a model's name stands for; None for a hub id."""
    if model == "tiny":
        return TINY
    path = os.path.expanduser(model)
    if os.path.isdir(path):
        return Path(path)
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise XlbenchError(f"the model folder {model} does not exist; give a folder, a hub id, or tiny")
    return None


def _digest(folder: Path, model: str, revision: str | None) -> str:
    """A digest of the files that make a folder's model. Raises XlbenchError where none holds weights."""
    if revision is not None:
        raise XlbenchError(f"--revision {revision} names a commit of a hub model; {model} is a folder: leave it out")
    seal = hashlib.sha256()
    files = sorted(path for path in folder.iterdir() if path.suffix in {".safetensors", ".json"})
    if not any(path.suffix == ".safetensors" for path in files):
        old, new = folder / "pytorch_model.bin", folder / "model.safetensors"
        way = f'; python -c "{"; ".join(CONVERSION).format(old=old, new=new)}" makes one of {old.name}'
        raise XlbenchError(
            f"{folder} holds no .safetensors file; only safetensors weights are read{way if old.exists() else ''}"
        )
    for path in files:
        seal.update(path.name.encode())
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                seal.update(block)
    return "sha256:" + seal.hexdigest()[:16]
