from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.classification_head import classification_head
from xlbench.method import Method, MethodConfig
from xlbench.problem import Classification, MultipleChoice, TokenLabelling
from xlbench.registry import register_method
from xlbench.task import Task


@register_method("finetune")
class FineTuning(Method):
    """Fine-tuning: a classification head where the answer is read, cross-entropy, all weights train.

    Input `<s> premise </s></s> hypothesis </s>`, read at the first token; with choices an input and one logit for each;
    where words are labelled, the words, each read at its first piece. The head is XLM-R's
    (xlbench.classification_head).
    """

    class Config(MethodConfig):
        head_dropout: float = Field(0.1, ge=0, lt=1, description="dropout before each layer of the head")
        search = {"head_dropout": (0.0, 0.1, 0.2, 0.3)}

    config: "FineTuning.Config"
    solves = frozenset({Classification, MultipleChoice, TokenLabelling})
    citation = (
        "Conneau et al. (2020), Unsupervised Cross-lingual Representation Learning at Scale, ACL. arXiv 1911.02116"
    )

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        self.head = classification_head(backbone.dimension, task.problem.outputs, self.config.head_dropout)
        return nn.ModuleDict({"encoder": backbone.encoder, "head": self.head})

    def logits(self, batch: Batch) -> Tensor:
        logits: Tensor = self.head(self.backbone.answer_states(batch))
        return logits
