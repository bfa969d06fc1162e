"""Masked language modelling on text (Devlin et al. 2019), for methods that learn from text without labels."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from xlbench.batching import Batch
from xlbench.errors import XlbenchError
from xlbench.method import Method, Stream
from xlbench.parts.sentence_vectors import ALONE
from xlbench.prompts import Encoded, on_device

SHARE = 0.15  # of the tokens that a masked language model is asked for


def text_stream(method: Method, texts: Mapping[str, Sequence[str]], rows_a_step: int | None = None) -> Stream:
    """Texts by language as rows beside the shots, each alone in `<s> … </s>`. Raises XlbenchError without any text."""
    parts = []
    for language, own in texts.items():
        encoded = method.text.encode(ALONE, [(text,) for text in own])
        parts.append(replace(encoded, language=np.full(len(own), method.task.languages.index(language))))
    if not sum(map(len, texts.values())):
        raise XlbenchError(
            f"method {method.name} has no text to learn from in any language; give some with --with "
            "resources.unlabelled.folder=DIR"
        )
    return Stream(Encoded.join(parts), group="text", rows_a_step=rows_a_step)


def hidden_words(method: Method, batch: Batch, share: float = SHARE) -> tuple[Tensor, Tensor, Tensor]:
    """The ids with some tokens hidden, (n, t); where tokens are asked for, (n, k); and those tokens, -1 for none.

    Of each row the `share` is drawn, rounded, and one token at least; special tokens never. Of what is drawn 80 % are
    `<mask>`, 10 % a word drawn from the vocabulary, 10 % as they were (as BERT's own code has it).
    """
    ids, tokenizer, device = batch.ids, method.backbone.tokenizer, batch.ids.device
    words = batch.attention.bool() & ~torch.isin(ids, on_device(device, tuple(tokenizer.all_special_ids)))
    drawn = torch.rand(ids.shape, device=device).masked_fill(~words, 2.0)
    where = drawn.argsort(dim=1)[:, : max(1, math.ceil(share * ids.shape[1]))]
    there = words.sum(dim=1, keepdim=True)
    count = (share * there).round().clamp_min(1).minimum(there)
    asked = torch.arange(where.shape[1], device=device) < count
    own, fate = ids.gather(1, where), torch.rand(where.shape, device=device)
    others = torch.randint(len(method.backbone.word_embeddings()), where.shape, device=device)
    read = torch.where(fate < 0.8, tokenizer.mask_token_id, torch.where(fate < 0.9, others, own))
    hidden = ids.scatter(1, where, torch.where(asked, read, own))
    return hidden, where, torch.where(asked, own, -1)


def masked_loss(method: Method, batch: Batch, share: float = SHARE) -> Tensor:
    """Cross-entropy of the tokens that are hidden, over the vocabulary, their mean; 0 where there is none.

    The method must set `whole_vocabulary`, `needs_masked_lm` and `couples_rows`.
    """
    backbone = method.backbone
    if backbone.transform is None:
        raise backbone.no_head()
    hidden, where, answers = hidden_words(method, batch, share)
    states = backbone.hidden(batch.with_ids(hidden))
    read = states.gather(1, where[..., None].expand(-1, -1, states.shape[-1]))
    logits = backbone.vocabulary_logits(backbone.transform(read)).float()
    total = nn.functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), ignore_index=-1, reduction="sum")
    return total / (answers >= 0).sum().clamp_min(1)
