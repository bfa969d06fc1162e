from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.corpora import Pair
from xlbench.errors import XlbenchError
from xlbench.method import PROMPT_INIT, PromptConfig, PromptMethod, Resources, Stream, kl
from xlbench.prompts import Encoded, PromptInit
from xlbench.registry import register_method
from xlbench.task import Row, Task

Architecture = Literal["linear-1", "linear-2", "lstm-1", "lstm-2", "transformer-1", "transformer-2", "identity"]


@register_method("mpt")
class MPT(PromptMethod):
    """Multilingual prompt translator (Qiu et al., arXiv 2403.12407).

    Published: a prompt encoder gives the source prompt p_S, a translator (a perceptron of two layers) the target prompt
    p_T = T(p_S); loss = CE of the shots under p_S + α · KL between the predictions at `<mask>` of a source text under
    p_S and of its translation under p_T, on a parallel corpus, trained jointly; at test time target text with p_T.

    Chosen, for the abstract and the ablations leave it open and no code was released: soft prompting's template, words
    and encoder; KL(stopped p_S ‖ p_T) over the label words; a translator a language; α 0.5; as many pairs a step as
    shots; translators and prompt train at `fresh_learning_rate`, for at the backbone's they stay what they were drawn.
    With α = 0 and the identity translator this is soft prompting, to the bit.
    """

    class Config(PromptConfig):
        prompt_length: int = Field(4, ge=1, le=64, description="soft prompt vectors, L")
        prompt_init: PromptInit = Field("normal", description=PROMPT_INIT)
        alpha: float = Field(0.5, ge=0, description="weight of the alignment loss")
        translator: Architecture = Field("linear-2", description="architecture of the prompt translator")
        translator_start: Literal["random", "identity"] = Field(
            "random", description="translators begin as they are drawn, or add nothing to p_S: as soft prompting"
        )
        shared: bool = Field(False, description="one translator for all target languages")
        pairs_per_step: int | None = Field(
            None, ge=1, description="translated pairs a step, of all languages; none: as many as shots"
        )
        direction: Literal["source-to-target", "both"] = Field(
            "source-to-target", description="KL from the stopped source to the target, or both ways without a stop"
        )
        support: Literal["label-words", "vocabulary"] = Field("label-words", description="what the KL sums over")
        without_pairs: Literal["source-prompt", "error"] = Field(
            "source-prompt", description="a language with no parallel text: use p_S for it, or refuse to run"
        )
        search = {
            "prompt_length": (1, 2, 4, 8),
            "alpha": (0.1, 0.3, 0.5, 0.7, 1.0),
            "translator_start": ("random", "identity"),
        }

    config: "MPT.Config"
    template = "soft"
    published_words = "right-wrong"
    needs = frozenset({"parallel"})
    citation = "Qiu et al. (2024), Multilingual Prompt Translator for Cross-lingual Transfer. arXiv 2403.12407"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.whole_vocabulary = self.config.support == "vocabulary"  # type: ignore[misc]

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        self.prompt_encoder = self.new_prompt(self.config.prompt_length, self.config.prompt_init)
        targets = [language for language in self.languages if language != task.source]
        self.translators = nn.ModuleDict()
        self.translator_of: dict[int, str] = {}  # language index → key of its translator
        if self.config.translator != "identity":
            for language in targets:
                key = "shared" if self.config.shared else language
                if key not in self.translators:
                    made = translator(self.config.translator, backbone.dimension)
                    at_identity = self.config.translator_start == "identity"
                    self.translators[key] = Residual(made, backbone.dimension) if at_identity else made
                self.translator_of[task.languages.index(language)] = key
        return nn.ModuleDict({"backbone": backbone, "prompt": self.prompt_encoder, "translators": self.translators})

    def prompt_length(self) -> int:
        return self.config.prompt_length

    def prompt(self, batch: Batch) -> Tensor:
        """Each row's prompt by its language: p_S for the source, T(p_S) for a target; (L, d) or (n, L, d)."""
        source: Tensor = self.prompt_encoder()
        translated = sorted(batch.languages & set(self.translator_of))
        if not translated:
            return source
        prompts = source[None].repeat(len(self.task.languages), 1, 1)
        for index in translated:
            prompts[index] = self.translators[self.translator_of[index]](source[None])[0]
        return prompts[batch.language]

    def streams(self, resources: Resources) -> dict[str, Stream]:
        targets = [language for language in self.languages if language != self.task.source]
        for language in targets:
            if not resources.parallel.get(language):
                self._without_pairs(language)
        if self.config.alpha == 0 and self.translator_of:
            self.notes.append("alpha is 0, so the translators stay as they were initialised")
        pairs = [pair for language in targets for pair in resources.parallel.get(language, ())]
        if self.config.alpha == 0 or not pairs:
            return {}
        size = self.config.pairs_per_step
        return {
            "source": Stream(self._side(pairs, source=True), group="pairs", rows_a_step=size),
            "target": Stream(self._side(pairs, source=False), group="pairs", rows_a_step=size),
        }

    def measures(self) -> dict[str, float]:
        """The cosine of p_S and p_T, all vectors as one, by target language."""
        source = self.prompt_encoder()
        cosines = {}
        for index, key in self.translator_of.items():
            target = self.translators[key](source[None])[0]
            cosine = nn.functional.cosine_similarity(source.flatten(), target.flatten(), dim=0)
            cosines[f"cosine of p_S and p_T, {self.task.languages[index]}"] = float(cosine)
        return cosines

    def _without_pairs(self, language: str) -> None:
        if self.config.without_pairs == "error":
            raise XlbenchError(f"the parallel corpus has no pairs for {language!r}; choose another with --parallel")
        self.notes.append(f"no parallel pairs for {language}: its texts are scored with the source prompt")
        key = self.translator_of.pop(self.task.languages.index(language), None)
        if key is not None and key not in self.translator_of.values():
            del self.translators[key]

    def _side(self, pairs: Sequence[Pair], source: bool) -> Encoded:
        """One side of the pairs, in the template of its language."""
        texts = len(self.task.fields)
        if source:
            return self.encode_labelled(
                [Row(pair.id, pair.source[:texts], 0, self.task.source, pair.id) for pair in pairs]
            )
        return self.encode_labelled([Row(pair.id, pair.target[:texts], 0, pair.language, pair.id) for pair in pairs])

    def loss(self, batch: Batch) -> Tensor:
        supervised = super().loss(batch)
        if "source" not in batch.streams:
            return supervised
        ours = self._distribution(batch.streams["source"])
        theirs = self._distribution(batch.streams["target"])
        if self.config.direction == "both":
            return supervised + self.config.alpha * (kl(ours, theirs) + kl(theirs, ours))
        return supervised + self.config.alpha * kl(ours.detach(), theirs)

    def _distribution(self, batch: Batch) -> Tensor:
        """Log-probabilities at `<mask>`, (n, support), under each row's prompt."""
        features = self.backbone.mask_features(batch, self.prompt(batch))
        words = self.config.support == "label-words"
        logits = self.label_logits(features, batch) if words else self.backbone.vocabulary_logits(features)
        return nn.functional.log_softmax(logits.float(), dim=-1)


def translator(architecture: Architecture, dimension: int) -> nn.Module:
    """A prompt translator, (1, L, d) → (1, L, d), of one of the architectures that the paper ablates.

    linear-2 is the paper's best: Linear(d, d), ReLU, Linear(d, d).
    """
    kind, _, layers = architecture.partition("-")
    if kind == "lstm":
        return First(nn.LSTM(dimension, dimension, num_layers=int(layers), batch_first=True))
    if kind == "transformer":
        heads = next(count for count in (8, 4, 2, 1) if dimension % count == 0)
        layer = nn.TransformerEncoderLayer(dimension, heads, 2 * dimension, dropout=0.0, batch_first=True)
        return nn.TransformerEncoder(layer, int(layers), enable_nested_tensor=False)
    if architecture == "linear-1":
        return nn.Linear(dimension, dimension)
    return nn.Sequential(nn.Linear(dimension, dimension), nn.ReLU(), nn.Linear(dimension, dimension))


class Residual(nn.Module):
    """A map that begins as the identity: x + Linear(f(x)), whose last layer begins as zeros."""

    def __init__(self, module: nn.Module, dimension: int) -> None:
        super().__init__()
        self.module, self.last = module, nn.Linear(dimension, dimension)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, states: Tensor) -> Tensor:
        changed: Tensor = states + self.last(self.module(states))
        return changed


class First(nn.Module):
    """A module of which only the first output counts (an LSTM's states)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, states: Tensor) -> Tensor:
        first: Tensor = self.module(states)[0]
        return first
