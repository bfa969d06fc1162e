from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.method import PROMPT_INIT, PromptConfig, PromptMethod
from xlbench.prompts import PromptInit
from xlbench.registry import register_method
from xlbench.task import Task


@register_method("soft-prompt")
class SoftPrompt(PromptMethod):
    """Soft prompting (Zhao & Schütze, EMNLP 2021): trained vectors between the texts and `<mask>`.

    Published: input `premise . hypothesis ? [v1]…[vL] <mask> .`, closing punctuation of both texts stripped; L = 4
    vectors of a prompt encoder (xlbench.prompts.PromptEncoder) whose embeddings begin as N(0, 1); label words right,
    maybe, wrong, the source language's for every language; cross-entropy over them; all weights train.
    Chosen: a step size of their own for the prompt's weights, which theirs do not have (`--protocol zhao-schuetze`
    gives theirs); punctuation is what Unicode calls so, where theirs is ASCII's.
    """

    class Config(PromptConfig):
        prompt_length: int = Field(4, ge=1, le=64, description="soft prompt vectors, L")
        prompt_init: PromptInit = Field("normal", description=PROMPT_INIT)
        search = {"prompt_length": (1, 2, 4, 8)}

    config: "SoftPrompt.Config"
    template = "soft"
    published_words = "right-wrong"
    citation = "Zhao and Schütze (2021), Discrete and Soft Prompting for Multilingual Models, EMNLP. arXiv 2109.03630"

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        self.prompt_encoder = self.new_prompt(self.config.prompt_length, self.config.prompt_init)
        return nn.ModuleDict({"backbone": backbone, "prompt": self.prompt_encoder})

    def prompt_length(self) -> int:
        return self.config.prompt_length

    def prompt(self, batch: Batch) -> Tensor:
        vectors: Tensor = self.prompt_encoder()
        return vectors
