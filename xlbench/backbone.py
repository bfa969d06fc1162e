"""A pretrained masked language model with its tokenizer; scores label words at `<mask>`.

Safetensors only, never code from a hub. One load a process: `Backbone.load` keeps what it read, and
`fresh()` gives a copy that a run may train, equal to the bit to a new load.
"""

import copy
import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xlbench.batching import Batch
from xlbench.errors import XlbenchError
from xlbench.last_layer import LastLayer, wrap_last_layer
from xlbench.prompts import TextEncoder, Verbalizer
from xlbench.sources import NO_ANSWER, hub_answers, hub_reason
from xlbench.spec import Lora, Tune

TINY = Path(__file__).parent / "tiny"
PUBLISHED_LEARNING_RATE = 1e-5

# On a CPU a batch is cut into so many rows at a time where that saves so many multiplications (weights × padding).
WORTHWHILE, ROWS_AT_A_TIME = 2e9, 4

# Where each family keeps the part of its masked-LM head that stands before the decoder.
_HEADS = ("lm_head", "cls", "predictions", "head")


class Backbone(nn.Module):
    """An encoder, the masked-LM head before its decoder (`transform`), and the decoder (vocabulary, d).

    `transform` and `decoder` are None where the checkpoint has no masked-LM head; then only methods that
    need none can use it.
    """

    def __init__(
        self,
        encoder: nn.Module,
        transform: nn.Module | None,
        decoder: nn.Linear | None,
        tokenizer: Any,
        name: str,
        revision: str,
    ) -> None:
        super().__init__()
        self.encoder, self.transform, self.decoder = encoder, transform, decoder
        self.tokenizer, self.name, self.revision = tokenizer, name, revision
        self.config: Any = encoder.config
        self.dimension = int(encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]
        matrices = [weight.numel() for weight in encoder.parameters() if weight.dim() > 1]
        self._whole: tuple[nn.Parameter, Tensor] | None = None  # all word embeddings, and the ids of those that train
        self._row_of: Tensor | None = None  # an id's row among those
        self.known_family = any(isinstance(module, LastLayer) for module in encoder.modules())
        self.weights_a_token = sum(matrices) - encoder.get_input_embeddings().weight.numel()  # type: ignore[operator]

    @property
    def has_masked_lm_head(self) -> bool:
        return self.decoder is not None

    @property
    def recommended_learning_rate(self) -> float:
        """What the checkpoint's config says under `recommended_learning_rate`, or the published 1e-5."""
        return float(getattr(self.config, "recommended_learning_rate", PUBLISHED_LEARNING_RATE))

    def text(self, max_length: int) -> TextEncoder:
        """The encoder of texts for this backbone. Raises XlbenchError where it reads fewer tokens."""
        positions = getattr(self.config, "max_position_embeddings", None)
        offset = (self.config.pad_token_id or 0) + 1 if "roberta" in self.config.model_type else 0
        if positions is not None and max_length > positions - offset:
            raise XlbenchError(
                f"--max-length {max_length} is more than the {positions - offset} tokens {self.name} reads"
            )
        return TextEncoder(self.tokenizer, max_length)

    def hidden(self, batch: Batch, prompt: Tensor | None = None) -> Tensor:
        """Last hidden states, (n, t, d). `prompt`: (L, d), or (n, L, d) for a prompt of each row's own."""
        return self._encode(self._vectors(batch, prompt), batch.attention, batch.segments, batch.padding > 0)

    def _vectors(self, batch: Batch, prompt: Tensor | None) -> Tensor:
        """What the encoder reads, (n, t, d): word embeddings, and prompt vectors where ids are below zero."""
        ids = batch.ids.clamp_min(0)
        vectors: Tensor = self._words()(ids if self._row_of is None else self._row_of[ids])
        if prompt is None:
            return vectors
        rows = prompt.expand(len(batch), *prompt.shape[-2:]).to(vectors.dtype)
        where = (-1 - batch.ids).clamp_min(0)[..., None].expand(-1, -1, vectors.shape[-1])
        return torch.where((batch.ids < 0)[..., None], rows.gather(1, where.clamp_max(rows.shape[1] - 1)), vectors)

    def _encode(self, vectors: Tensor, attention: Tensor, segments: Tensor, padded: bool) -> Tensor:
        kind = {"token_type_ids": segments} if getattr(self.config, "type_vocab_size", 0) > 1 else {}
        mask: Tensor | None = attention
        if self.known_family:  # it would ask the device whether anything is padding
            mask = attention[:, None, None].bool().expand(-1, 1, attention.shape[1], -1) if padded else None
        output = self.encoder(inputs_embeds=vectors, attention_mask=mask, **kind)
        hidden: Tensor = output.last_hidden_state
        return hidden

    def answer_states(self, batch: Batch, prompt: Tensor | None = None) -> Tensor:
        """Last hidden states where the answer is read (`Batch.read_at`), (n, d) or (n, words, d)."""
        if batch.read_at.dim() == 1:
            return self._at(batch, batch.read_at, prompt)
        hidden = self.hidden(batch, prompt)
        return hidden.gather(1, batch.read_at.clamp_min(0)[..., None].expand(-1, -1, hidden.shape[-1]))

    def mask_features(self, batch: Batch, prompt: Tensor | None = None) -> Tensor:
        """What the decoder would see at `<mask>`, (n, d): the head runs at that position only."""
        if self.transform is None:
            raise XlbenchError(f"{self.name} has no masked-LM head; choose a masked language model or `finetune`")
        features: Tensor = self.transform(self.answer_states(batch, prompt))
        return features

    def label_logits(self, features: Tensor, verbalizer: Verbalizer) -> Tensor:
        """Logits of the label words, (n, labels), from features (n, d)."""
        assert self.decoder is not None
        return verbalizer.scores(features, self.decoder.weight, self.decoder.bias, self._decoder_rows())

    def vocabulary_logits(self, features: Tensor) -> Tensor:
        """Logits of the whole vocabulary, (n, vocabulary), from features (n, d)."""
        assert self.decoder is not None
        if self._decoder_rows() is not None:
            raise XlbenchError(
                "the whole vocabulary is read in training by a method that does not say so; "
                "its `whole_vocabulary` must be True"
            )
        logits: Tensor = self.decoder(features)
        return logits

    def _at(self, batch: Batch, position: Tensor, prompt: Tensor | None) -> Tensor:
        """The last hidden state at one `position` (n,) of each row, (n, d).

        On a CPU rows of unlike lengths go through the encoder a few at a time, each few padded to their own
        longest: the same numbers, with less padding.
        """
        vectors = self._vectors(batch, prompt)
        if not self._in_parts(batch):
            return self._encode_at(position, vectors, batch.attention, batch.segments, batch.padding > 0)
        lengths = batch.attention.sum(dim=1)
        order = lengths.argsort(descending=True, stable=True)
        found = []
        for rows in order.split(ROWS_AT_A_TIME):
            longest, shortest = int(lengths[rows].max()), int(lengths[rows].min())
            read, attention, segments = (whole[rows, :longest] for whole in (vectors, batch.attention, batch.segments))
            found.append(self._encode_at(position[rows], read, attention, segments, shortest < longest))
        return torch.cat(found)[order.argsort()]

    def _encode_at(
        self, position: Tensor, vectors: Tensor, attention: Tensor, segments: Tensor, padded: bool
    ) -> Tensor:
        """As `_encode`, at one position of each row: (n, d)."""
        if not self.known_family:
            every = torch.arange(len(position), device=position.device)
            return self._encode(vectors, attention, segments, padded)[every, position]
        last = next(module for module in self.encoder.modules() if isinstance(module, LastLayer))
        with last.only(position):
            return self._encode(vectors, attention, segments, padded)[:, 0]

    def _in_parts(self, batch: Batch) -> bool:
        return batch.ids.device.type == "cpu" and batch.padding * self.weights_a_token > WORTHWHILE

    def passes(self, batch: Batch) -> list[tuple[int, int]]:
        """(rows, tokens) of each pass through the encoder by which `answer_states` reads a batch."""
        if not self._in_parts(batch):
            return [(batch.ids.shape[0], batch.ids.shape[1])]
        longest_first = batch.attention.sum(dim=1).sort(descending=True).values
        return [(len(rows), int(rows[0])) for rows in longest_first.split(ROWS_AT_A_TIME)]

    def trim(self, ids: np.ndarray) -> bool:
        """Train the word embeddings of some ids alone, (u,) sorted; False where that changes nothing or saves little.

        Those of the other ids have no gradient, and what an optimiser does to them `untrim` does at once. Until then
        an id that is not among `ids` is an IndexError, and the whole vocabulary an XlbenchError.
        """
        words = self._words()
        whole: nn.Parameter = words.weight
        if not whole.requires_grad or 2 * len(ids) > len(whole):
            return False
        chosen = torch.from_numpy(ids).to(whole.device)
        self._whole = whole, chosen
        self._row_of = torch.full((len(whole),), len(ids), device=whole.device)
        self._row_of[chosen] = torch.arange(len(ids), device=whole.device)
        self._tie(nn.Parameter(whole.detach()[chosen]))
        if words.padding_idx is not None:  # its row has no gradient
            words.padding_idx = int(self._row_of[words.padding_idx])
        return True

    def untrim(self, kept: float) -> None:
        """Put the trained embeddings back among the others, of each of which weight decay has `kept` a part."""
        assert self._whole is not None
        words, (whole, chosen) = self._words(), self._whole
        with torch.no_grad():
            whole.mul_(kept)
            whole[chosen] = words.weight
        if words.padding_idx is not None:
            words.padding_idx = int(chosen[words.padding_idx])
        self._tie(whole)
        self._whole = self._row_of = None

    def word_embeddings(self) -> nn.Parameter:
        """The word embeddings, (vocabulary, d); those of the trimmed ids alone where they are trimmed."""
        found: nn.Parameter = self._words().weight
        return found

    def _words(self) -> Any:
        embedding: Any = self.encoder.get_input_embeddings  # transformers and peft alike have it
        return embedding()

    def _decoder_rows(self) -> Tensor | None:
        """An id's row of the decoder, where that has the word embeddings' weights and they are trimmed."""
        tied = self.decoder is not None and self.decoder.weight is self.word_embeddings()
        return self._row_of if tied else None

    def _tie(self, weight: nn.Parameter) -> None:
        """Make other weights the word embeddings, and the decoder's where it shares them."""
        words = self._words()
        if self.decoder is not None and self.decoder.weight is words.weight:
            self.decoder.weight = weight
        words.weight, words.num_embeddings = weight, len(weight)

    def fresh(self, tune: Tune = "all", lora: Lora | None = None) -> "Backbone":
        """A copy to train: all weights, adapters on the encoder only (lora), or nothing (frozen).

        With lora and frozen the masked-LM head stays as it was pretrained.
        """
        ours = copy.deepcopy(self)
        if tune != "all":
            ours.requires_grad_(False)
        if tune == "lora":
            ours.encoder = _with_adapters(ours.encoder, lora or Lora(), self.name)
        return ours

    @staticmethod
    def load(model: str, revision: str | None = None) -> "Backbone":
        """The backbone of a hub id, a folder, or `tiny`; read once a process and kept on the CPU in fp32.

        Raises XlbenchError: no such folder or model, no safetensors, no fast tokenizer, an unknown head.
        """
        return _load(model, revision)


def _folder(model: str) -> Path | None:
    """The folder that a model's name stands for; None for a hub id."""
    if model == "tiny":
        return TINY
    path = os.path.expanduser(model)
    if os.path.isdir(path):
        return Path(path)
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise XlbenchError(f"the model folder {model} does not exist; give a folder, a hub id, or tiny")
    return None


@cache
def _revision(model: str, revision: str | None) -> str:
    folder = _folder(model)
    if folder is not None and revision is not None:
        raise XlbenchError(f"--revision {revision} names a commit of a hub model; {model} is a folder: leave it out")
    if folder is not None:
        seal = hashlib.sha256()
        files = sorted(path for path in folder.iterdir() if path.suffix in {".safetensors", ".json"})
        if not any(path.suffix == ".safetensors" for path in files):
            raise XlbenchError(f"{folder} holds no .safetensors file; only safetensors weights are read")
        for path in files:
            seal.update(path.name.encode())
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    seal.update(block)
        return "sha256:" + seal.hexdigest()[:16]
    from transformers import AutoConfig

    hub_answers()
    try:
        config = AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=False)
    except Exception as fault:  # the hub client raises many kinds; all mean that there is no model
        raise XlbenchError(_unreachable(model, fault)) from fault
    return str(getattr(config, "_commit_hash", None) or revision or "unknown")


@cache
def _load(model: str, revision: str | None) -> Backbone:
    import transformers
    from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    folder = _folder(model)
    pinned = _revision(model, revision)
    place = str(folder) if folder else model
    options: dict[str, Any] = {"trust_remote_code": False}
    options |= {"local_files_only": True} if folder else {"revision": revision}
    weights = {**options, "use_safetensors": True, "dtype": torch.float32, "attn_implementation": "sdpa"}
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, use_fast=True, **options)
        config = transformers.AutoConfig.from_pretrained(place, **options)
        masked = any("MaskedLM" in kind for kind in config.architectures or [])
        if masked:
            whole, report = AutoModelForMaskedLM.from_pretrained(place, output_loading_info=True, **weights)
            masked = not [key for key in report["missing_keys"] if any(head in key for head in _HEADS)]
        if not masked:
            whole = AutoModel.from_pretrained(place, **weights)
    except XlbenchError:
        raise
    except Exception as fault:  # a broken folder, a hub out of reach, a config of another kind
        raise XlbenchError(_unreachable(model, fault) if folder is None else _broken(folder, fault)) from fault
    # Without tokenizer files transformers makes up a tokenizer that knows only its special tokens.
    words = set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)
    if not words or not getattr(tokenizer, "is_fast", False):
        raise XlbenchError(f"{model} has no fast tokenizer (tokenizer.json), which xlbench needs")
    wrap_last_layer(whole.base_model)
    if not masked:
        return Backbone(whole, None, None, tokenizer, model, pinned).eval()
    decoder = whole.get_output_embeddings()
    transform = _head_before(whole, decoder, model)
    return Backbone(whole.base_model, transform, decoder, tokenizer, model, pinned).eval()


def _head_before(whole: nn.Module, decoder: nn.Module, model: str) -> nn.Module:
    """The masked-LM head with its decoder taken out: (…, d) → (…, d)."""
    for name in _HEADS:
        head = getattr(whole, name, None)
        if head is None:
            continue
        for parent in head.modules():
            for child_name, child in parent.named_children():
                if child is decoder:
                    setattr(parent, child_name, nn.Identity())
                    return head
        return head  # the decoder stands beside the head (ModernBERT)
    raise XlbenchError(
        f"the masked-LM head of {model} ({type(whole).__name__}) is of a kind xlbench does not know; "
        f"it looks for one of {', '.join(_HEADS)}"
    )


def _with_adapters(encoder: nn.Module, lora: Lora, name: str) -> nn.Module:
    from peft import LoraConfig, TaskType, get_peft_model

    settings: dict[str, Any] = {"r": lora.rank, "lora_alpha": lora.alpha, "lora_dropout": lora.dropout}
    try:
        config = LoraConfig(task_type=TaskType.FEATURE_EXTRACTION, **settings)
        return get_peft_model(encoder, config)
    except ValueError:  # peft knows no default layers for this architecture
        config = LoraConfig(task_type=TaskType.FEATURE_EXTRACTION, target_modules="all-linear", **settings)
        return get_peft_model(encoder, config)


def _unreachable(model: str, fault: Exception) -> str:
    reason = hub_reason(fault) if hub_answers() else NO_ANSWER
    return (
        f"cannot load the model {model!r} from the hub ({reason}); give --model FOLDER "
        "or --model tiny, and --data-root DIR for the data, to work without the hub"
    )


def _broken(folder: Path, fault: Exception) -> str:
    first = str(fault).strip().splitlines()[0] if str(fault).strip() else ""
    return f"cannot load a model from the folder {folder} ({type(fault).__name__}: {first})"
