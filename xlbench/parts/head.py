"""HeadMethod: the base of methods that read an answer off states of the encoder with a head, as fine-tuning does."""

from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.method import Method, MethodConfig
from xlbench.problem import Classification, MultipleChoice, Problem, TokenLabelling
from xlbench.spec import ResolvedTraining
from xlbench.task import Task


class HeadConfig(MethodConfig):
    """The settings of a head."""

    head_dropout: float = Field(0.1, ge=0, lt=1, description="dropout before each layer of the head")


class HeadMethod(Method):
    """Fine-tuning's input, head and read-out; a subclass's `build` says what of the encoder trains beside `head`.

    `finetune` has the same in its own file, on which the identity of its records depends.
    """

    head: nn.Module  # set by `build`
    solves: ClassVar[frozenset[type[Problem]]] = frozenset({Classification, MultipleChoice, TokenLabelling})

    def new_head(self, backbone: Backbone, task: Task) -> nn.Sequential:
        """XLM-R's head, (…, d) → (…, outputs): dropout, Linear(d, d), tanh, dropout, Linear(d, outputs).

        Weights are drawn from N(0, 0.02), biases are 0 (Conneau et al. 2020, `XLMRobertaClassificationHead`).
        """
        config: Any = self.config
        first = nn.Linear(backbone.dimension, backbone.dimension)
        last = nn.Linear(backbone.dimension, task.problem.outputs)
        for layer in (first, last):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        dropout = config.head_dropout
        return nn.Sequential(nn.Dropout(dropout), first, nn.Tanh(), nn.Dropout(dropout), last)

    def logits(self, batch: Batch) -> Tensor:
        logits: Tensor = self.head(self.backbone.answer_states(batch))
        return logits

    def groups_apart(self, module: nn.Module, training: ResolvedTraining, times: float) -> list[dict[str, Any]]:
        """The optimiser's groups: what `encoder` holds of fresh numbers at `times` their rate, and the head."""
        faster = training.model_copy(update={"fresh_learning_rate": training.fresh_learning_rate * times})
        groups = Method.parameter_groups(self, module.get_submodule("encoder"), faster)
        return [*groups, *Method.parameter_groups(self, self.head, training)]
