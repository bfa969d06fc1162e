from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from xlbench.backbone import Backbone
from xlbench.batching import Batch
from xlbench.method import PROMPT_INIT, PromptConfig, Resources, Stream, kl
from xlbench.parts.all_words import AllWords
from xlbench.parts.switched_rows import dictionaries_of, switched_rows
from xlbench.prompts import MultiToken, PromptInit
from xlbench.registry import register_method
from xlbench.task import Task


@register_method("softmv")
class SoftMV(AllWords):
    """SoftMV (Li et al., Findings of ACL 2023): a soft prompt, code-switched copies, and a multilingual verbalizer.

    Published: soft prompting's template and encoder, once for a shot and once for its copy, in which each word is
    switched with a chance of 0.55 (in one of their files; 0.2 and 0 in others), the language drawn again up to ten
    times; a label's logit is the mean over the 15 languages of its words' logits, in training and in the test;
    CE(shot) + CE(copy) + 0.3 · KL(copy ‖ shot) over these logits, with a gradient through both; all weights.

    Chosen: the prompt begins as soft prompting's, where theirs copies the embeddings of four special tokens;
    dictionaries are read or induced; words are looked up without punctuation at their edges. A word of several tokens
    is its last, as released. At rate 0, without dropout and without the divergence, and with the source's words alone,
    the loss is twice soft prompting's.
    """

    class Config(PromptConfig):
        multi_token: MultiToken = Field(
            "last", description="a label word of several tokens: its last piece (as released), their mean, or refuse"
        )
        prompt_length: int = Field(4, ge=1, le=64, description="soft prompt vectors, L")
        prompt_init: PromptInit = Field("normal", description=PROMPT_INIT)
        rate: float = Field(0.55, ge=0, le=1, description="chance of a word to be switched in the copy")
        consistency: float = Field(0.3, ge=0, description="weight of the KL of copy and shot")
        languages: Literal["all", "source"] = Field("all", description="whose words a label's logit is the mean of")
        search = {"rate": (0.2, 0.4, 0.55), "prompt_length": (1, 2, 4, 8)}

    config: "SoftMV.Config"
    template = "soft"
    published_words = "right-wrong"
    needs = frozenset({"dictionary"})
    citation = (
        "Li et al. (2023), Enhancing Cross-lingual Natural Language Inference by Soft Prompting with Multilingual "
        "Verbalizer, Findings of ACL. arXiv 2305.12761"
    )

    def build(self, backbone: Backbone, task: Task) -> nn.Module:
        self.prompt_encoder = self.new_prompt(self.config.prompt_length, self.config.prompt_init)
        return nn.ModuleDict({"backbone": backbone, "prompt": self.prompt_encoder})

    def prompt_length(self) -> int:
        return self.config.prompt_length

    def prompt(self, batch: Batch) -> Tensor:
        vectors: Tensor = self.prompt_encoder()
        return vectors

    def logits(self, batch: Batch) -> Tensor:
        """Mean logits over the languages of each label's words at `<mask>`, (n, labels)."""
        features = self.backbone.mask_features(batch, self.prompt(batch))
        return self.backbone.label_logits(features, self.together).unflatten(1, (len(self.every), -1)).mean(dim=1)

    def streams(self, resources: Resources) -> dict[str, Stream]:
        dictionaries = dictionaries_of(self, resources)
        rows = switched_rows(self, resources.shots, dictionaries, self.config.rate, resources.random, redraws=10)
        return {"copy": Stream(self.encode_labelled(rows), aligned=True)}

    def loss(self, batch: Batch) -> Tensor:
        shot, copy = (self.logits(side).float() for side in (batch, batch.streams["copy"]))
        errors = nn.functional.cross_entropy(shot, batch.labels) + nn.functional.cross_entropy(copy, batch.labels)
        return errors + self.config.consistency * kl(copy.log_softmax(-1), shot.log_softmax(-1))
