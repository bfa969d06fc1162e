from typing import Any

from pydantic import Field
from torch import nn

from xlbench.backbone import Backbone
from xlbench.parts.head import HeadConfig, HeadMethod
from xlbench.registry import register_method
from xlbench.spec import ResolvedTraining
from xlbench.task import Task

# By the names of BERT and its kin, DeBERTa and DistilBERT; the last layer is wrapped (xlbench.last_layer). peft's own
# list for them, `output.dense`, would catch the attention's output too, which (IA)³ leaves alone.
KEYS_AND_VALUES = r".*(attention\.self\.(key|value)(_proj)?|attention\.[kv]_lin)"
FEED_FORWARD = r".*(\.(\d+|layer)\.output\.dense|\.ffn\.lin2)"


@register_method("ia3")
class IA3(HeadMethod):
    """(IA)³ (Liu et al., NeurIPS 2022): trained vectors that scale what goes on inside of every layer.

    Published: in each layer a vector scales the keys, one the values, and one the inner activations of the feed-forward
    part, 2 d + d_ff numbers; all begin as ones, so that training begins with the pretrained encoder; the backbone is
    frozen. There for T0 and prompts, with losses of their own; here for an encoder, through the library peft.
    Chosen: input, head and cross-entropy are those of fine-tuning; the head trains at `fresh_learning_rate`, the
    vectors at `rate_times` as much, 3e-3.
    """

    class Config(HeadConfig):
        rate_times: float = Field(
            3.0, gt=0, description="step size of the vectors, as a multiple of fresh_learning_rate"
        )
        search = {"head_dropout": (0.0, 0.1, 0.2, 0.3), "rate_times": (1.0, 3.0, 10.0)}

    config: "IA3.Config"
    freezes = True
    citation = "Liu et al. (2022), Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning, NeurIPS. arXiv 2205.05638"  # noqa: E501

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        from peft import IA3Config, TaskType

        self.head = self.new_head(backbone, task)
        backbone.adapt(
            IA3Config(
                task_type=TaskType.FEATURE_EXTRACTION,
                target_modules=f"{KEYS_AND_VALUES}|{FEED_FORWARD}",
                feedforward_modules=FEED_FORWARD,
            )
        )
        return nn.ModuleDict({"encoder": backbone.encoder, "head": self.head})

    def parameter_groups(self, module: nn.Module, training: ResolvedTraining) -> list[dict[str, Any]]:
        return self.groups_apart(module, training, self.config.rate_times)
