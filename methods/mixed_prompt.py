from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.method import PROMPT_INIT, PromptConfig, PromptMethod
from xlbench.prompts import Encoded, PromptInit
from xlbench.registry import register_method
from xlbench.task import Row, Task
from xlbench.wording import notes_of_english


@register_method("mixed-prompt")
class MixedPrompt(PromptMethod):
    """Mixed prompting (Zhao & Schütze, EMNLP 2021): a discrete prompt's words and a soft prompt's vectors.

    Published: both at once; where the vectors stand the paper's released code does not say, for it has none of it.
    Chosen: SoftMV's fork, `premise . Question: hypothesis ? Answer: [v1]…[vL] <mask> .` (`prompt_at=before-answer` has
    them before the answer's word); vectors, label words and training are soft prompting's. With no vectors this is
    discrete prompting, in its template, to the bit.
    """

    class Config(PromptConfig):
        prompt_length: int = Field(4, ge=0, le=64, description="soft prompt vectors, L; 0: discrete prompting")
        prompt_init: PromptInit = Field("normal", description=PROMPT_INIT)
        prompt_at: Literal["before-mask", "before-answer"] = Field("before-mask", description="where the vectors stand")
        question_words: Literal["source", "own"] = Field(
            "source", description="the question's and answer's words: the source language's for all, or each its own"
        )
        search = {"prompt_length": (1, 2, 4, 8), "prompt_at": ("before-mask", "before-answer")}

    config: "MixedPrompt.Config"
    template = "mixed"
    published_words = "right-wrong"
    citation = "Zhao and Schütze (2021), Discrete and Soft Prompting for Multilingual Models, EMNLP. arXiv 2109.03630"

    def __post_init__(self) -> None:
        if not self.config.prompt_length:  # parted at vectors, a template's words may be other tokens
            self.template = "discrete"  # type: ignore[misc]
        elif self.config.prompt_at == "before-answer":
            self.template = "mixed-answer"  # type: ignore[misc]
        super().__post_init__()
        if self.template not in self.task.templates:
            self.notes += notes_of_english(map(self._worded_in, (self.task.source, *self.languages)))

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        parts: dict[str, nn.Module] = {"backbone": backbone}
        if self.config.prompt_length:
            self.prompt_encoder = self.new_prompt(self.config.prompt_length, self.config.prompt_init)
            parts["prompt"] = self.prompt_encoder
        return nn.ModuleDict(parts)

    def prompt_length(self) -> int:
        return self.config.prompt_length

    def prompt(self, batch: Batch) -> Tensor | None:
        vectors: Tensor | None = self.prompt_encoder() if self.config.prompt_length else None
        return vectors

    def encode(self, rows: Sequence[Row], language: str) -> Encoded:
        return super().encode(rows, self._worded_in(language))

    def _worded_in(self, language: str) -> str:
        """The language in whose words rows of a language are asked."""
        return language if self.config.question_words == "own" else self.task.source
