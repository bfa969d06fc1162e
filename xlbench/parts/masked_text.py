"""Masked language modelling on text (Devlin et al. 2019), for methods that learn from text without labels."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from xlbench.batching import Batch
from xlbench.errors import XlbenchError
from xlbench.method import Method, Stream
from xlbench.parts.sentence_vectors import ALONE
from xlbench.prompts import Encoded

SHARE = 0.15  # of the tokens that a masked language model is asked for


def text_stream(method: Method, texts: Mapping[str, Sequence[str]], rows_a_step: int | None = None) -> Stream:
    """Texts by language as rows beside the shots, each alone in `<s> … </s>`. Raises XlbenchError without any text."""
    parts = []
    for language, own in texts.items():
        encoded = method.text.encode(ALONE, [(text,) for text in own])
        parts.append(replace(encoded, language=np.full(len(own), method.task.languages.index(language))))
    if not sum(map(len, texts.values())):
        raise XlbenchError(f"method {method.name} has no text to learn from in any language; give some with --parallel")
    return Stream(Encoded.join(parts), group="text", rows_a_step=rows_a_step)


def hidden_words(method: Method, batch: Batch, share: float = SHARE) -> tuple[Tensor, Tensor]:
    """The ids with some tokens hidden, and where, both (n, t): of the `share` that is drawn, special tokens never among
    it, 80 % are `<mask>`, 10 % a word drawn from the vocabulary, 10 % as they were."""
    ids, tokenizer = batch.ids, method.backbone.tokenizer
    special = torch.tensor(tokenizer.all_special_ids, device=ids.device)
    drawn, fate = torch.rand(ids.shape, device=ids.device), torch.rand(ids.shape, device=ids.device)
    words = torch.randint(len(method.backbone.word_embeddings()), ids.shape, device=ids.device)
    asked = (drawn < share) & batch.attention.bool() & ~torch.isin(ids, special)
    read = torch.where(asked & (fate < 0.8), tokenizer.mask_token_id, ids)
    return torch.where(asked & (fate >= 0.9), words, read), asked


def masked_loss(method: Method, batch: Batch, share: float = SHARE) -> Tensor:
    """Cross-entropy of the tokens that are hidden, over the vocabulary, their mean; 0 where none is drawn.

    The method must set `whole_vocabulary`, `needs_masked_lm` and `couples_rows`.
    """
    backbone = method.backbone
    read, asked = hidden_words(method, batch, share)
    states = backbone.hidden(replace(batch, ids=read))[asked]
    if backbone.transform is None:
        raise backbone.no_head()
    logits = backbone.vocabulary_logits(backbone.transform(states)).float()
    return nn.functional.cross_entropy(logits, batch.ids[asked], reduction="sum") / max(1, len(states))
