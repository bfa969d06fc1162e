from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.method import Resources, Stream
from xlbench.parts.head import HeadConfig, HeadMethod
from xlbench.parts.switched_rows import dictionaries_of, switched_rows
from xlbench.registry import register_method
from xlbench.task import Task


@register_method("code-switch")
class CodeSwitch(HeadMethod):
    """Fine-tuning on code-switched shots: CoSDA-ML (Qin et al., IJCAI 2020).

    Published: in training each word of a text that is chosen (all, in their settings) stands with a chance of `rate` in
    a translation: the language is drawn, then one of the word's entries in its dictionary (MUSE); a word without one
    stays. Anew for every batch, into all target languages, labels kept, no clean copy beside it; cross-entropy, all
    weights. Rates of 0.4 to 0.9 by task.

    Chosen: a rate of 0.5; `copies` of the shots are switched before training and each step draws one of them;
    dictionaries are read or induced (the resource `dictionary`); punctuation at a word's edges is put back, where
    theirs never finds such a word; words that carry tags are switched one for one. At rate 0 this is fine-tuning, to
    the bit.
    """

    class Config(HeadConfig):
        rate: float = Field(0.5, ge=0, le=1, description="chance of a word to be switched")
        sentences: float = Field(1.0, ge=0, le=1, description="chance of a row to be switched at all")
        copies: int = Field(10, ge=1, le=100, description="switched copies of the shots, of which each step draws one")
        edges: bool = Field(True, description="look words up without the punctuation at their edges")
        search = {"rate": (0.1, 0.3, 0.5, 0.7, 0.9)}

    config: "CodeSwitch.Config"
    needs = frozenset({"dictionary"})
    citation = (
        "Qin et al. (2020), CoSDA-ML: Multi-Lingual Code-Switching Data Augmentation for Zero-Shot Cross-Lingual NLP, "
        "IJCAI. arXiv 2006.06402"
    )

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        self.head = self.new_head(backbone, task)
        return nn.ModuleDict({"encoder": backbone.encoder, "head": self.head})

    def streams(self, resources: Resources) -> dict[str, Stream]:
        config = self.config
        if config.rate == 0 or config.sentences == 0:
            return {}
        dictionaries = dictionaries_of(self, resources)
        if not dictionaries:
            return {}
        shots, rate, random = resources.shots, config.rate, resources.random
        first, *others = (
            self.encode_labelled(
                switched_rows(self, shots, dictionaries, rate, random, 0, config.edges, config.sentences)
            )
            for _ in range(config.copies)
        )
        return {"switched": Stream(first, aligned=True, others=tuple(others))}

    def loss(self, batch: Batch) -> Tensor:
        return super().loss(batch.streams.get("switched", batch))
