"""A pretrained masked language model with its tokenizer; scores label words at `<mask>`.

Safetensors only, never code from a hub. One load a process: `Backbone.load` keeps what it read, and
`fresh()` gives a copy that a run may train, equal to the bit to a new load.
"""

import copy
import warnings
from contextlib import nullcontext
from functools import cache
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from xlbench.batching import Batch
from xlbench.checkpoint_files import TINY as TINY
from xlbench.checkpoint_files import Checkpoint, read_checkpoint
from xlbench.errors import NotSupported, XlbenchError
from xlbench.last_layer import FAMILIES, LastLayer
from xlbench.prompts import TextEncoder, Verbalizer
from xlbench.spec import Lora, Tune

PUBLISHED_LEARNING_RATE = 1e-5

# On a CPU a batch is cut into so many rows at a time where that saves so many multiplications (weights × padding).
WORTHWHILE, ROWS_AT_A_TIME = 2e9, 4
EVERY = slice(None)


class Backbone(nn.Module):
    """An encoder, the masked-LM head before its decoder (`transform`), and the decoder (vocabulary, d).

    `transform` and `decoder` are None where the checkpoint has no masked-LM head, and `headless` says what it has; then
    only methods that need none can use it. `reads_right`: whether a token sees those after it.
    """

    def __init__(self, files: Checkpoint, name: str) -> None:
        super().__init__()
        encoder = self.encoder = files.encoder  # first: a step's rounding depends on the order of its parameters
        self.transform, self.decoder, self.tokenizer = files.transform, files.decoder, files.tokenizer
        self.name, self.revision = name, files.revision
        self.headless, self.reads_right = files.headless, files.reads_right
        self.config: Any = encoder.config
        self.dimension = int(encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]
        matrices = [weight.numel() for weight in encoder.parameters() if weight.dim() > 1]
        self._all_words: tuple[nn.Parameter, Tensor] | None = None  # all word embeddings, and the ids that train
        self._row_of: Tensor | None = None  # an id's row among those
        self._added: frozenset[int] = frozenset()  # the `id` of each parameter of adapters
        self._prefix = 0  # trained keys and values before those of the tokens, in every layer
        self._copied: set[int] = set()  # the `id` of each pretrained parameter of copies of its parts
        self.rows_under_way: Tensor | slice = EVERY  # the inputs of the batch that the latest pass reads, in its order
        self.known_family = any(isinstance(module, LastLayer) for module in encoder.modules())
        words: nn.Parameter = encoder.get_input_embeddings().weight  # type: ignore[operator]
        self.weights_a_token = sum(matrices) - words.numel()
        self.embedding_dimension = words.shape[1]  # of what the encoder reads; fewer than `dimension` in ALBERT
        positions = getattr(getattr(encoder, "embeddings", None), "position_embeddings", None)
        before = getattr(positions, "padding_idx", None)
        self.first_position = 0 if before is None else before + 1  # RoBERTa and its kin leave some unread

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
        if positions is not None and max_length > positions - self.first_position:
            raise XlbenchError(
                f"--max-length {max_length} is more than the {positions - self.first_position} tokens {self.name} reads"
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

    def _encode(
        self,
        vectors: Tensor,
        attention: Tensor,
        segments: Tensor,
        padded: bool,
        position: Tensor | None = None,
        rows: Tensor | slice = EVERY,
    ) -> Tensor:
        """Last hidden states, (n, t, d), or those at one `position` (n,) of each row, (n, d), of some `rows`."""
        self.rows_under_way = rows
        kind, encoder = self._kinds(segments), cast(Any, self.encoder)
        if self._prefix:  # peft's own forward would drop the token types, and the prefix count as positions in BERT
            attention = torch.cat([attention.new_ones(len(attention), self._prefix), attention], dim=1)
            places = torch.arange(vectors.shape[1], device=vectors.device) + self.first_position
            kind |= {"past_key_values": encoder.get_prompt(len(vectors)), "position_ids": places[None]}
            encoder = encoder.get_base_model()
        mask: Tensor | None = attention
        if self.known_family:  # it would ask the device whether anything is padding
            mask = _mask(attention, vectors.shape[1]) if padded else None
        last = next((module for module in self.encoder.modules() if isinstance(module, LastLayer)), None)
        with nullcontext() if last is None or position is None else last.only(position):
            states: Tensor = encoder(inputs_embeds=vectors, attention_mask=mask, **kind).last_hidden_state
        if position is None:
            return states
        return states[:, 0] if last else states[torch.arange(len(position), device=position.device), position]

    def _kinds(self, segments: Tensor) -> dict[str, Any]:
        """Segments, (n, t), as an encoder that tells them apart is given them."""
        return {"token_type_ids": segments} if getattr(self.config, "type_vocab_size", 0) > 1 else {}

    @property
    def depth(self) -> int:
        """How many layers the encoder has."""
        return int(self.config.num_hidden_layers)

    def layer_at(self, share: float) -> int:
        """How many layers are a share, 0 to 1, of the encoder's: one at least."""
        return max(1, round(share * self.depth))

    @property
    def layers(self) -> nn.ModuleList:
        """The encoder's layers, each (n, t, d) → (n, t, d). Raises XlbenchError where it is of no known family."""
        if not self.known_family:
            raise XlbenchError(
                f"the layers of {self.name} ({self.config.model_type}) are not known one by one; choose an encoder of "
                "BERT's kind, such as XLM-R"
            )
        layers: nn.ModuleList = self.encoder.encoder.layer  # type: ignore[union-attr, assignment]
        return layers

    def states(self, batch: Batch, depth: int, prompt: Tensor | None = None) -> Tensor:
        """Hidden states behind the first `depth` layers, (n, t, d); 0: what the first layer reads.

        The other layers do not run, where the encoder is of a known family.
        """
        if depth == self.depth:
            return self.hidden(batch, prompt)
        encoder: Any = self.encoder
        read = {"inputs_embeds": self._vectors(batch, prompt), **self._kinds(batch.segments)}
        if not self.known_family:
            found = encoder(attention_mask=batch.attention, output_hidden_states=True, **read)
            states: Tensor = found.hidden_states[depth]
            return states
        states = encoder.embeddings(**read)
        if hasattr(encoder, "embeddings_project"):  # ELECTRA's, where words have fewer numbers than states
            states = encoder.embeddings_project(states)
        return self.onward(states, batch.attention if batch.padding else None, 0, depth) if depth else states

    def onward(
        self,
        states: Tensor,
        attention: Tensor | None,
        start: int,
        end: int | None = None,
        position: Tensor | None = None,
    ) -> Tensor:
        """What the layers from `start` on, up to `end`, make of states (n, t, d): the same, or (n, d) at one `position`
        (n,) of each row, where the last layer is among them.

        `attention`: (n, t), 1 for a token; None where nothing is padding. Raises XlbenchError where the encoder is of
        no known family.
        """
        layers: Any = self.layers[start:end]
        mask = None if attention is None else _mask(attention, attention.shape[1])
        with nullcontext() if position is None else layers[-1].only(position):
            for layer in layers:
                states = layer(states, mask)
        return states if position is None else states[:, 0]

    def answer_states(self, batch: Batch, prompt: Tensor | None = None) -> Tensor:
        """Last hidden states where the answer is read (`Batch.read_at`), (n, d) or (n, words, d)."""
        if batch.read_at.dim() == 1:
            return self._at(batch, batch.read_at, prompt)
        hidden = self.hidden(batch, prompt)
        return hidden.gather(1, batch.read_at.clamp_min(0)[..., None].expand(-1, -1, hidden.shape[-1]))

    def mask_features(self, batch: Batch, prompt: Tensor | None = None) -> Tensor:
        """What the decoder would see at `<mask>`, (n, d): the head runs at that position only."""
        if self.transform is None:
            raise self.no_head()
        on_cpu = batch.ids.device.type == "cpu"  # elsewhere it would wait for the device
        if on_cpu and (batch.ids.gather(1, batch.read_at[:, None]) != self.tokenizer.mask_token_id).any():
            raise XlbenchError("the features of <mask> are asked of a row without one; its template needs a <mask>")
        features: Tensor = self.transform(self.answer_states(batch, prompt))
        return features

    def label_logits(self, features: Tensor, verbalizer: Verbalizer) -> Tensor:
        """Logits of the label words, (n, labels), from features (n, d)."""
        if self.decoder is None:
            raise self.no_head()
        return verbalizer.scores(features, self.decoder.weight, self.decoder.bias, self._decoder_rows())

    def vocabulary_logits(self, features: Tensor) -> Tensor:
        """Logits of the whole vocabulary, (n, vocabulary), from features (n, d)."""
        if self.decoder is None:
            raise self.no_head()
        if self._decoder_rows() is not None:
            raise XlbenchError(
                "the whole vocabulary is read in training by a method that does not say so; "
                "its `whole_vocabulary` must be True"
            )
        logits: Tensor = self.decoder(features)
        return logits

    def no_head(self) -> XlbenchError:
        return XlbenchError(f"{self.name} has no masked-LM head; choose a masked language model or `finetune`")

    def _at(self, batch: Batch, position: Tensor, prompt: Tensor | None) -> Tensor:
        """The last hidden state at one `position` (n,) of each row, (n, d).

        On a CPU rows of unlike lengths go through the encoder a few at a time, each few padded to their own
        longest: the same numbers, with less padding.
        """
        vectors = self._vectors(batch, prompt)
        if not self._in_parts(batch):
            return self._encode(vectors, batch.attention, batch.segments, batch.padding > 0, position)
        lengths = batch.attention.sum(dim=1)
        order = lengths.argsort(descending=True, stable=True)
        states = []
        for rows in order.split(ROWS_AT_A_TIME):
            longest, shortest = int(lengths[rows].max()), int(lengths[rows].min())
            read, attention, segments = (side[rows, :longest] for side in (vectors, batch.attention, batch.segments))
            states.append(self._encode(read, attention, segments, shortest < longest, position[rows], rows))
        return torch.cat(states)[order.argsort()]

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
        vocabulary: nn.Parameter = words.weight
        if not vocabulary.requires_grad or 2 * len(ids) > len(vocabulary):
            return False
        chosen = torch.from_numpy(ids).to(vocabulary.device)
        self._all_words = vocabulary, chosen
        self._row_of = torch.full((len(vocabulary),), len(ids), device=vocabulary.device)
        self._row_of[chosen] = torch.arange(len(ids), device=vocabulary.device)
        self._tie(nn.Parameter(vocabulary.detach()[chosen]))
        if words.padding_idx is not None:  # its row has no gradient
            words.padding_idx = int(self._row_of[words.padding_idx])
        return True

    def untrim(self, decay: float) -> None:
        """Put trimmed embeddings back among the others, of each of which weight decay has left the part `decay`."""
        if self._all_words is None:
            return
        words, (vocabulary, chosen) = self._words(), self._all_words
        with torch.no_grad():
            vocabulary.mul_(decay)
            vocabulary[chosen] = words.weight
        if words.padding_idx is not None:
            words.padding_idx = int(chosen[words.padding_idx])
        self._tie(vocabulary)
        self._all_words = self._row_of = None

    def word_embeddings(self) -> nn.Parameter:
        """The word embeddings, (vocabulary, d); those of the trimmed ids alone where they are trimmed."""
        return self._words().weight

    def _words(self) -> Any:
        return self.encoder.get_input_embeddings()  # type: ignore[operator]  # of transformers and peft alike

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
            ours.adapt(_low_rank(lora or Lora()), _low_rank(lora or Lora(), "all-linear"))
        return ours

    def adapt(self, *configs: Any) -> Any:
        """Freeze all of it, and put into the encoder what the first config of peft adds that fits: that trains alone.

        What is added counts as drawn anew. A prefix (PrefixTuningConfig) stands before the keys and values of every
        layer; the texts keep their positions. Gives the encoder with the additions in it. Raises NotSupported where it
        has others already, where no config finds its layers, and for a prefix where layers of its family take none.
        """
        from peft import PeftType, get_peft_model

        if self._added:
            raise NotSupported("the encoder has adapters of --tune lora already; use --tune all or frozen")
        prefix = configs[0].num_virtual_tokens if configs[0].peft_type == PeftType.PREFIX_TUNING else 0
        if prefix and not self.known_family:  # others take its argument, and compute without it
            raise NotSupported(
                f"the encoder of {self.name} ({self.config.model_type}) takes no prefix before its keys and values; "
                f"choose another method, or an encoder of {', '.join(sorted(FAMILIES))}"
            )
        self.requires_grad_(False)
        before = set(map(id, self.parameters()))
        for config in configs:
            try:
                with warnings.catch_warnings():  # of what peft still asks transformers for
                    warnings.simplefilter("ignore", FutureWarning)
                    self.encoder = get_peft_model(self.encoder, config)
                break
            except ValueError as fault:  # it finds none of the layers, or knows no default ones for the architecture
                lacking = fault
        else:
            raise NotSupported(
                f"the encoder of {self.name} ({self.config.model_type}) has no layers of the names that "
                f"{configs[-1].peft_type.value} adds to; choose another method, or an encoder such as XLM-R"
            ) from lacking
        self._added, self._prefix = frozenset(map(id, self.parameters())) - before, prefix
        return self.encoder

    def copied(self, part: nn.Module) -> nn.Module:
        """A copy of a part of it, to train beside it: what is pretrained there is pretrained in the copy."""
        ours, pretrained = copy.deepcopy(part), self.pretrained()
        both = zip(part.parameters(), ours.parameters(), strict=True)
        self._copied |= {id(new) for old, new in both if id(old) in pretrained}
        return ours

    def pretrained(self) -> frozenset[int]:
        """The `id` of each of its parameters, and of those of copies of its parts, that was not added by `fresh`: what
        a method draws anew is not here."""
        return frozenset(map(id, self.parameters())) - self._added | self._copied

    @staticmethod
    def load(model: str, revision: str | None = None) -> "Backbone":
        """The backbone of a hub id, a folder, or `tiny`; read once a process and kept on the CPU in fp32.

        Raises XlbenchError: no such folder or model, or files that do not make a whole encoder (`checkpoint_files`).
        """
        return _load(model, revision)


@cache
def _load(model: str, revision: str | None) -> Backbone:
    return Backbone(read_checkpoint(model, revision), model).eval()


def _low_rank(lora: Lora, target: str | None = None) -> Any:
    """peft's config of low-rank adapters; on query and value where the target is `attention`."""
    from peft import LoraConfig, TaskType

    chosen = target or lora.target
    return LoraConfig(
        task_type=TaskType.FEATURE_EXTRACTION, r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout,
        target_modules=None if chosen == "attention" else chosen,
    )  # fmt: skip


def _mask(attention: Tensor, width: int) -> Tensor:
    """What each of `width` tokens may look at, (n, 1, width, t), from the tokens that are there, (n, t)."""
    return attention[:, None, None].bool().expand(-1, 1, width, -1)
