from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.method import PromptConfig, PromptMethod
from xlbench.prompts import PromptEncoder
from xlbench.registry import register_method
from xlbench.task import Task


@register_method("soft-prompt")
class SoftPrompt(PromptMethod):
    """Soft prompting (Zhao & Schütze, EMNLP 2021): trained vectors between the texts and `<mask>`.

    Input `premise . hypothesis ? [v1]…[vL] <mask> .`, closing punctuation of both texts stripped. The vectors
    come from a prompt encoder (xlbench.prompts.PromptEncoder); loss is cross-entropy over the label words.
    In zero-shot transfer the source language's label words serve for every language.
    """

    class Config(PromptConfig):
        prompt_length: int = Field(4, ge=1, le=64, description="soft prompt vectors, L")
        search = {"prompt_length": (1, 2, 4, 8)}

    config: "SoftPrompt.Config"
    template = "soft"
    citation = "Zhao and Schütze (2021), Discrete and Soft Prompting for Multilingual Models, EMNLP. arXiv 2109.03630"

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        self.prompt_encoder = PromptEncoder(self.config.prompt_length, backbone.dimension)
        return nn.ModuleDict({"backbone": backbone, "prompt": self.prompt_encoder})

    def prompt_length(self) -> int:
        return self.config.prompt_length

    def prompt(self, batch: Batch) -> Tensor:
        vectors: Tensor = self.prompt_encoder()
        return vectors
