from collections.abc import Sequence

from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.method import Method, MethodConfig
from xlbench.prompts import Encoded
from xlbench.registry import register_method
from xlbench.task import Row, Task


@register_method("mean-pool")
class MeanPool(Method):
    """A linear layer on the mean of the last hidden states."""

    class Config(MethodConfig):
        dropout: float = Field(0.0, ge=0, lt=1, description="dropout before the layer")

    config: "MeanPool.Config"

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        self.head = nn.Sequential(nn.Dropout(self.config.dropout), nn.Linear(backbone.dimension, len(task.labels)))
        return nn.ModuleDict({"encoder": backbone.encoder, "head": self.head})

    def encode(self, rows: Sequence[Row], language: str) -> Encoded:
        return self.in_template("pair", rows, language)

    def logits(self, batch: Batch) -> Tensor:
        real = batch.attention[..., None]
        mean = (self.backbone.hidden(batch) * real).sum(dim=1) / real.sum(dim=1)
        logits: Tensor = self.head(mean)
        return logits
