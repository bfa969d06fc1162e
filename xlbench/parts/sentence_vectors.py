"""SentenceVectors: texts become one vector each, as a sentence encoder's files say (`sentence_files`)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch, by_token_budget, collate
from xlbench.parts.sentence_files import POOLINGS, SentenceFiles, Unit
from xlbench.prompts import Encoded, Template

ALONE = Template("{text}", ("text",), "a text alone")
AT_A_TIME = 4096  # tokens of texts that go through the encoder at once


class SentenceVectors:
    """The vectors of a backbone's texts. Each text is framed alone, with the prefix before it.

    `behind`: what pooled states go through, (n, d) → (n, `width`). Where the encoder is `frozen` vectors are of fp32
    and have no gradient, whatever is asked around.
    """

    def __init__(self, backbone: Backbone, files: SentenceFiles, max_length: int, frozen: bool) -> None:
        self.backbone, self.files, self.frozen = backbone, files, frozen
        self.text = backbone.text(min(max_length, files.max_length or max_length))
        self.prefix = files.prefix or ""
        self.behind = nn.Sequential(*files.layers, *[Unit()] * files.unit)
        dense = [layer.out_features for layer in files.layers if isinstance(layer, nn.Linear)]
        self.width = [backbone.dimension * len(files.pooling), *dense][-1]
        # The framed prefix, which some encoders leave out where they pool.
        prefix = self.text.tokenizer(self.prefix.strip(), add_special_tokens=False)["input_ids"] if self.prefix else []
        self._unpooled = 0 if files.prefix_pooled or not prefix else len(self.text.begin) + len(prefix)

    def ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Each text as ids, with its frame."""
        texts = [text.lower() if self.files.lower_case else text for text in texts]
        return self.text.encode(ALONE, [(self.prefix + text.strip(),) for text in texts]).ids

    def of(self, ids: Sequence[np.ndarray], device: torch.device) -> Tensor:
        """The vectors of texts that are ids, (n, width)."""
        lengths = np.array([len(text) for text in ids])
        encoded = Encoded(list(ids), np.zeros_like(lengths), lengths, np.zeros_like(lengths))
        order = by_token_budget(lengths, AT_A_TIME)
        with (
            torch.inference_mode(torch.is_inference_mode_enabled() and not self.frozen),
            torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen),
            torch.autocast(device.type, enabled=torch.is_autocast_enabled(device.type) and not self.frozen),
        ):
            parts = [self._of_batch(collate(encoded, rows, self.text.pad, device)) for rows in order]
            return torch.cat(parts)[torch.from_numpy(np.concatenate(order).argsort()).to(device)]

    def _of_batch(self, batch: Batch) -> Tensor:
        states, kept = self.backbone.hidden(batch).float(), batch.attention
        if self._unpooled:
            kept = kept * (torch.arange(kept.shape[1], device=kept.device) >= self._unpooled)
        vectors: Tensor = self.behind(pooled(states, kept, self.files.pooling))
        return vectors


def pooled(states: Tensor, kept: Tensor, pooling: tuple[str, ...]) -> Tensor:
    """States, (n, t, d), pooled: (n, d) for each pooling, joined in the order of POOLINGS.

    `kept`: (n, t), 1 for a token that counts; `cls` is the first, whether it counts or not.
    """
    mask = kept[..., None].to(states.dtype)
    count = mask.sum(dim=1).clamp_min(1)
    places = torch.arange(1, kept.shape[1] + 1, device=kept.device)
    by_name = {
        "cls": lambda: states[:, 0],
        "max": lambda: states.masked_fill(mask == 0, -torch.inf).amax(dim=1),
        "mean": lambda: (states * mask).sum(dim=1) / count,
        "mean-sqrt": lambda: (states * mask).sum(dim=1) / count.sqrt(),
        "weighted-mean": lambda: (states * mask * places[:, None]).sum(dim=1) / (mask * places[:, None]).sum(dim=1),
        "last": lambda: states[torch.arange(len(states), device=states.device), (kept * places).argmax(dim=1)],
    }
    return torch.cat([by_name[name]() for name in POOLINGS if name in pooling], dim=-1)
