from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.errors import NotSupported
from xlbench.method import Resources, Stream
from xlbench.parts.bottlenecks import Coupling, Stack, Which, adapt_layers
from xlbench.parts.head import HeadConfig, HeadMethod
from xlbench.parts.masked_text import SHARE, masked_loss, text_stream
from xlbench.prompts import on_device
from xlbench.registry import register_method
from xlbench.spec import ResolvedTraining
from xlbench.task import Task


@register_method("adapters")
class Adapters(HeadMethod):
    """MAD-X (Pfeiffer et al., EMNLP 2020): a task's adapter upon a language's, changed for the test's.

    Published, and in the library `adapters`: behind each feed-forward block, which reads x and gives h, bottlenecks
    a = h + U relu(D LN(h + x)), the language's with d/2 units and upon it the task's with d/16, then LN(a + x), all by
    the pretrained LayerNorm; weights from N(0, 0.02). A language has an invertible adapter too, behind the embeddings
    and undone before the decoder: y1 = x1 + F(x2), y2 = x2 + G(y1), F and G with d/4 units. The backbone is frozen.
    Masked language modelling on a language's text trains its adapters; then the source's are frozen, and the task's
    adapter and the head train above them. Test rows are read with the adapters of their language.

    Chosen: both phases share the run's budget, `share` of it for all languages at once, in mixed batches (theirs:
    250,000 steps of 64 texts for each language); the step size, `fresh_learning_rate` times `rate_times`, 1e-3 (theirs:
    1e-4). A language without text is read with the source's adapters, and a source without text with no language's.
    With `share=0` the task's adapter is alone; with U = 0, in F and G too, this is the backbone, to the bit.
    """

    class Config(HeadConfig):
        share: float = Field(0.5, ge=0, lt=1, description="share of the steps that read text, before the others")
        language_reduction: int = Field(2, ge=1, description="d over the units of a language's adapter")
        task_reduction: int = Field(16, ge=1, description="d over the units of the task's adapter")
        invertible: bool = Field(True, description="invertible adapters of languages, beside the bottlenecks")
        rate_times: float = Field(1.0, gt=0, description="step size of adapters, as a multiple of fresh_learning_rate")
        masked: float = Field(SHARE, gt=0, lt=1, description="share of a text's tokens that are asked for")
        texts_per_step: int | None = Field(None, ge=1, description="texts a step; none: as many as shots")
        search = {"rate_times": (0.1, 0.3, 1.0, 3.0), "head_dropout": (0.0, 0.1, 0.2, 0.3)}

    config: "Adapters.Config"
    needs = frozenset({"unlabelled"})
    needs_masked_lm = True
    whole_vocabulary = True
    couples_rows = True
    freezes = True
    citation = (
        "Pfeiffer et al. (2020), MAD-X: An Adapter-Based Framework for Multi-Task Cross-Lingual Transfer, EMNLP. arXiv "
        "2005.00052"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        own = self.backbone.pretrained()
        if any(id(value) not in own for value in self.backbone.parameters()):
            raise NotSupported("the encoder has adapters of --tune lora already; use --tune all or frozen")
        self.speakers = [*dict.fromkeys((*self.task.sources, *self.languages))]  # in the order of their adapters
        self._place(self.speakers)
        self.spoken: Which | None = None  # whose adapters each row under way is read with; none: it has not any
        self.with_task = True

    @property
    def phases(self) -> tuple[float, ...]:
        return (self.config.share,) if self.config.share else ()

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        backbone.requires_grad_(False)
        width, depth, reads = backbone.dimension, range(len(backbone.layers)), self.config.share > 0
        units = [max(1, width // each) for each in (self.config.language_reduction, self.config.task_reduction)]
        self.head = self.new_head(backbone, task)
        self.of_task = nn.ModuleList(Stack(1, width, units[1]) for _ in depth)
        self.of_language = nn.ModuleList(Stack(len(self.speakers), width, units[0]) for _ in depth if reads)
        self.couplings = nn.ModuleList()
        adapt_layers(backbone, self._of_layer)
        if reads and self.config.invertible:
            self.couplings.append(Coupling(len(self.speakers), backbone.embedding_dimension))
            cast(Any, backbone.encoder).embeddings.register_forward_hook(partial(self._coupled, back=False))
            cast(Any, backbone.transform).register_forward_hook(partial(self._coupled, back=True))
        adapters = {"task_adapter": self.of_task, "language_adapters": self.of_language, "couplings": self.couplings}
        return nn.ModuleDict({"backbone": backbone, "head": self.head, **adapters})

    def _of_layer(self, layer: int) -> Iterator[Callable[[Tensor], Tensor]]:
        """The adapters of a layer that the rows under way are read with, lowest first."""
        if self.spoken is not None and self.of_language:
            yield partial(self.of_language[layer], which=self._rows(), held=self.with_task)
        if self.spoken is not None and self.with_task:
            yield partial(self.of_task[layer], which=0)

    def _coupled(self, part: nn.Module, given: Any, states: Tensor, back: bool) -> Tensor:
        """Embeddings through the invertible adapters, or what the decoder would read on the way back."""
        if self.spoken is None:
            return states
        coupled: Tensor = self.couplings[0](states, self._rows(), self.with_task, back)
        return coupled

    def _rows(self) -> Which:
        """Whose adapters the rows of the pass under way are read with, in its order."""
        return self.spoken[self.backbone.rows_under_way] if isinstance(self.spoken, Tensor) else self.spoken or 0

    def _place(self, speakers: Container[str]) -> None:
        """Whose adapters each of the task's languages is read with: its own, or the source's, which are the first."""
        own = {name: place for place, name in enumerate(self.speakers) if name in speakers}
        self.place = tuple(own.get(name, 0) for name in self.task.languages)

    @contextmanager
    def _speaking(self, batch: Batch, with_task: bool) -> Iterator[None]:
        """Within it the backbone reads a batch with its languages' adapters, and with the task's or without."""
        first, *others = {self.place[index] for index in batch.languages}
        self.spoken = on_device(batch.language.device, self.place)[batch.language] if others else first
        self.with_task = with_task
        try:
            yield
        finally:
            self.spoken = None

    def streams(self, resources: Resources) -> dict[str, Stream]:
        if not self.config.share:
            return {}
        found, source = resources["unlabelled"], self.task.source
        texts = {name: [text for row in found[name] for text in row] for name in self.speakers if found.get(name)}
        if source not in texts:
            for stack in (part for part in (*self.of_language, *self.couplings.modules()) if isinstance(part, Stack)):
                stack.up.data[0] = 0.0
        self._place(texts)
        for name in self.speakers:
            if name not in texts:
                theirs = f"the adapters of {source}" if source in texts and name != source else "no language's adapters"
                self.notes.append(f"no text of {name}: it is read with {theirs}")
        return {"text": text_stream(self, texts, self.config.texts_per_step)}

    def loss(self, batch: Batch) -> Tensor:
        if self.progress >= self.config.share:
            return super().loss(batch)
        text = batch.streams["text"]
        with self._speaking(text, with_task=False):
            return masked_loss(self, text, self.config.masked)

    def logits(self, batch: Batch) -> Tensor:
        with self._speaking(batch, with_task=True):
            return super().logits(batch)

    def parameter_groups(self, module: nn.Module, training: ResolvedTraining) -> list[dict[str, Any]]:
        adapters = nn.ModuleList((self.of_task, self.of_language, self.couplings))
        return self.groups_apart(nn.ModuleDict({"encoder": adapters}), training, self.config.rate_times)
