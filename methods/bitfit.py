from typing import Any

from pydantic import Field
from torch import nn

from xlbench.backbone import Backbone
from xlbench.errors import NotSupported
from xlbench.parts.head import HeadConfig, HeadMethod
from xlbench.registry import register_method
from xlbench.spec import ResolvedTraining
from xlbench.task import Task


@register_method("bitfit")
class BitFit(HeadMethod):
    """BitFit (Ben Zaken et al., ACL 2022): fine-tuning of the biases and the head alone.

    Published: every bias of the encoder trains, LayerNorm's too, and a new head; all other weights stay. Input, head
    and cross-entropy are those of fine-tuning; with every weight in place of the biases this is `finetune`, to the bit.
    Chosen, for no cross-lingual code was found: the biases' step size, that of pretrained weights times `rate_times`
    (1e-4 with the default of XLM-R, at the lower end of what BitFit is trained with).
    """

    class Config(HeadConfig):
        rate_times: float = Field(10.0, gt=0, description="step size of the biases, as a multiple of learning_rate")
        search = {"head_dropout": (0.0, 0.1, 0.2, 0.3), "rate_times": (3.0, 10.0, 30.0, 100.0)}

    config: "BitFit.Config"
    freezes = True
    citation = "Ben Zaken, Goldberg and Ravfogel (2022), BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked Language-models, ACL. arXiv 2106.10199"  # noqa: E501

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        named = backbone.encoder.named_parameters()
        biases = [value for name, value in named if name.endswith("bias") and value.requires_grad]
        if not biases:
            raise NotSupported(
                f"method bitfit finds no bias to train in {backbone.name}; use --tune all, and an encoder with biases"
            )
        self.head = self.new_head(backbone, task)
        backbone.requires_grad_(False)
        for bias in biases:
            bias.requires_grad_(True)
        return nn.ModuleDict({"encoder": backbone.encoder, "head": self.head})

    def parameter_groups(self, module: nn.Module, training: ResolvedTraining) -> list[dict[str, Any]]:
        rate = training.learning_rate * self.config.rate_times
        return super().parameter_groups(module, training.model_copy(update={"learning_rate": rate}))
