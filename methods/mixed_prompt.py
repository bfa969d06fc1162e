from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.method import PROMPT_INIT, PromptConfig, PromptMethod
from xlbench.prompts import PromptInit
from xlbench.registry import register_method
from xlbench.task import Task


@register_method("mixed-prompt")
class MixedPrompt(PromptMethod):
    """Mixed prompting (Zhao & Schütze, EMNLP 2021): a discrete prompt's words and a soft prompt's vectors.

    Published: both at once; where the vectors stand the paper's released code does not say, for it has none of it.
    Chosen: SoftMV's fork, `premise . Question: hypothesis ? Answer: [v1]…[vL] <mask> .` (`prompt_at=before-answer` has
    them before the answer's word); vectors, label words and training are soft prompting's. With no vectors this is
    discrete prompting, to the bit.
    """

    class Config(PromptConfig):
        prompt_length: int = Field(4, ge=0, le=64, description="soft prompt vectors, L")
        prompt_init: PromptInit = Field("normal", description=PROMPT_INIT)
        prompt_at: Literal["before-mask", "before-answer"] = Field("before-mask", description="where the vectors stand")
        question_words: Literal["source", "own"] = Field(
            "source", description="the question's and answer's words: English for all, or each language's own"
        )
        search = {"prompt_length": (1, 2, 4, 8), "prompt_at": ("before-mask", "before-answer")}

    config: "MixedPrompt.Config"
    template = "mixed"
    also_reads = frozenset({"mixed-own", "mixed-answer", "mixed-answer-own"})
    published_words = "right-wrong"
    citation = "Zhao and Schütze (2021), Discrete and Soft Prompting for Multilingual Models, EMNLP. arXiv 2109.03630"

    def __post_init__(self) -> None:
        before_answer = "-answer" if self.config.prompt_at == "before-answer" else ""
        own = "-own" if self.config.question_words == "own" else ""
        self.template = f"mixed{before_answer}{own}"  # type: ignore[misc]
        super().__post_init__()

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
