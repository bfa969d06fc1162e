from typing import Any

from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.parts.head import HeadConfig, HeadMethod
from xlbench.registry import register_method
from xlbench.spec import ResolvedTraining
from xlbench.task import Task


@register_method("prefix")
class Prefix(HeadMethod):
    """Prefix tuning of every layer (Li & Liang, ACL 2021; P-tuning v2, Liu et al., ACL 2022; across languages Tu et
    al., Findings of EMNLP 2022): trained keys and values before those of the text.

    Published (P-tuning v2 and its code for XNLI): L = 32 keys and values in every layer, an embedding (L, 2 · layers ·
    d) drawn from N(0, 1) without reparameterisation, dropout 0.1 on it, attended to by every token; the backbone is
    frozen. Chosen: a head and input as fine-tuning's, where theirs has the frozen pooler before one layer; the head
    trains at `fresh_learning_rate`, the prefix at `rate_times` as much, 5e-3 (theirs: 1e-3 for XNLI with 30 epochs of
    all rows, 5e-3 and 1e-2 elsewhere; in 600 steps 1e-3 moves the tiny model's little); the texts' positions stay what
    they are without a prefix, where in their code they begin after it.
    """

    class Config(HeadConfig):
        prefix_length: int = Field(32, ge=1, le=256, description="trained keys and values in every layer, L")
        prefix_dropout: float = Field(0.1, ge=0, lt=1, description="dropout on the trained keys and values")
        projection: int | None = Field(
            None,
            ge=1,
            description="inner width of two layers that give the keys and values; none: they train themselves",
        )
        rate_times: float = Field(
            5.0, gt=0, description="step size of the prefix, as a multiple of fresh_learning_rate"
        )
        search = {"prefix_length": (4, 8, 16, 32), "head_dropout": (0.0, 0.1, 0.2, 0.3), "rate_times": (1.0, 5.0, 10.0)}

    config: "Prefix.Config"
    freezes = True
    citation = "Liu et al. (2022), P-Tuning: Prompt Tuning Can Be Comparable to Fine-tuning Across Scales and Tasks, ACL. arXiv 2110.07602"  # noqa: E501

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        from peft import PrefixTuningConfig, TaskType

        self.head = self.new_head(backbone, task)
        encoder = backbone.adapt(
            PrefixTuningConfig(
                task_type=TaskType.FEATURE_EXTRACTION,
                num_virtual_tokens=self.config.prefix_length,
                prefix_projection=self.config.projection is not None,
                encoder_hidden_size=self.config.projection,
            )
        )
        encoder.prompt_encoder["default"].register_forward_hook(self._dropped)
        return nn.ModuleDict({"encoder": encoder, "head": self.head})

    def _dropped(self, module: nn.Module, _: Any, prefix: Tensor) -> Tensor:
        return nn.functional.dropout(prefix, self.config.prefix_dropout, module.training)

    def parameter_groups(self, module: nn.Module, training: ResolvedTraining) -> list[dict[str, Any]]:
        return self.groups_apart(module, training, self.config.rate_times)
