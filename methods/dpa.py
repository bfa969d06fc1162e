from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from xlbench.batching import Batch
from xlbench.method import PromptConfig
from xlbench.parts.all_words import AllWords
from xlbench.prompts import MultiToken
from xlbench.registry import register_method


@register_method("dpa")
class DPA(AllWords):
    """Dual prompt augmentation (Zhou et al., Findings of ACL 2023): label words of all languages, and mixed-up masks.

    Published: input `premise . </s> hypothesis ? <mask> .`, without words of any language; ce(z, y) = the mean over the
    15 languages of -log softmax(z)[the language's word of y], over the whole vocabulary; of each two rows i and j, with
    λ drawn anew from Beta(1.2, 1.2), the loss is ⅔ of the mean of both ce and ⅓ of that of the mixed state: encoder
    states at `<mask>`, before the masked-LM head, λ h_i + (1 - λ) h_j, asked λ ce(z, y_i) + (1 - λ) ce(z, y_j). In the
    test the English words are compared, for every language; a word of several tokens is its last. All weights train.
    Released, and not used: each language's own words in the test (`label_words`), or all languages' (`compared`).

    Chosen: the segments are parted as the backbone parts them (XLM-R: two `</s>` for their one); closing punctuation of
    any script gives way to the template's, where theirs keeps some; rows 0 and 1, 2 and 3, … of a batch are mixed, an
    odd last one is not; languages without words in the set are left out and named.
    """

    class Config(PromptConfig):
        multi_token: MultiToken = Field(
            "last", description="a label word of several tokens: its last piece (as released), their mean, or refuse"
        )
        mixup: float = Field(1.2, ge=0, description="both parameters of λ's beta distribution; 0: nothing is mixed")
        languages: Literal["all", "source"] = Field("all", description="whose label words are trained towards")
        compared: Literal["one", "sum", "maximum"] = Field(
            "one",
            description="words in the test: of one language, as `label_words` says; or of all trained towards, by the "
            "sum of a label's probabilities or the largest",
        )
        search = {"mixup": (0.4, 1.2)}

    config: "DPA.Config"
    template = "universal"
    published_words = "dpa"
    whole_vocabulary = True
    couples_rows = True
    citation = (
        "Zhou et al. (2023), Enhancing Cross-lingual Prompting with Dual Prompt Augmentation, Findings of ACL. arXiv "
        "2202.07255"
    )

    def label_logits(self, features: Tensor, batch: Batch) -> Tensor:
        if self.config.compared == "one":
            return super().label_logits(features, batch)
        logits = self.backbone.label_logits(features, self.together).unflatten(1, (len(self.every), -1))
        return logits.amax(dim=1) if self.config.compared == "maximum" else logits.logsumexp(dim=1)

    def loss(self, batch: Batch) -> Tensor:
        states = self.backbone.answer_states(batch)
        pairs = len(states) // 2 if self.config.mixup else 0
        ours, theirs = states[: 2 * pairs : 2], states[1 : 2 * pairs : 2]
        share = self._shares(pairs, states)
        read = torch.cat([states, share[:, None] * ours + (1 - share[:, None]) * theirs]) if pairs else states
        errors = self._errors(read)
        of_rows = errors[: len(states)].gather(1, batch.labels[:, None])[:, 0]
        if not pairs:
            return of_rows.mean()
        mixed, labels = errors[len(states) :], batch.labels
        first, second = (mixed.gather(1, labels[start : 2 * pairs : 2, None])[:, 0] for start in (0, 1))
        of_pairs = share * first + (1 - share) * second
        paired, alone = of_rows[: 2 * pairs], of_rows[2 * pairs :]
        return (2 / 3 * paired.sum() + 2 / 3 * of_pairs.sum() + alone.sum()) / len(states)

    def _shares(self, pairs: int, states: Tensor) -> Tensor:
        """λ of each pair, (pairs,); nothing is drawn for none."""
        if not pairs:
            return states.new_empty(0)
        shape = torch.tensor(self.config.mixup)
        return torch.distributions.Beta(shape, shape).sample((pairs,)).to(states.device, states.dtype)

    def _errors(self, states: Tensor) -> Tensor:
        """ce of each label, (n, labels), from encoder states at `<mask>`, (n, d)."""
        if self.backbone.transform is None:
            raise self.backbone.no_head()
        logits = self.backbone.vocabulary_logits(self.backbone.transform(states)).float()
        words = self.together.picked(nn.functional.log_softmax(logits, dim=-1))
        return -words.unflatten(1, (len(self.every), -1)).mean(dim=1)
