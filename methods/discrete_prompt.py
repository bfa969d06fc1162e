from typing import Literal

from pydantic import Field

from xlbench.method import PromptConfig, PromptMethod
from xlbench.registry import register_method


@register_method("discrete-prompt")
class DiscretePrompt(PromptMethod):
    """Discrete prompting (Zhao & Schütze, EMNLP 2021): words between the texts and `<mask>`, and nothing drawn anew.

    Published: input `premise . Question: hypothesis ? Answer: <mask> .`, closing punctuation of both texts stripped;
    in transfer the English words of the question and the English label words right, maybe, wrong for every language,
    and with in-language training (here `question_words=own`, `label_words=target`) each language's; cross-entropy over
    the label words; all weights train.
    Chosen: punctuation is what Unicode calls so, where theirs is ASCII's; a task of one text has no question, and its
    text stands before `Answer: <mask> .`; languages beside the 15 have PCT's words or lighteval's.
    """

    class Config(PromptConfig):
        question_words: Literal["source", "own"] = Field(
            "source", description="the question's and answer's words: English for all, or each language's own"
        )
        search = {"question_words": ("source", "own")}

    config: "DiscretePrompt.Config"
    template = "discrete"
    also_reads = frozenset({"discrete-own"})
    published_words = "right-wrong"
    citation = "Zhao and Schütze (2021), Discrete and Soft Prompting for Multilingual Models, EMNLP. arXiv 2109.03630"

    def __post_init__(self) -> None:
        if self.config.question_words == "own":
            self.template = "discrete-own"  # type: ignore[misc]
        super().__post_init__()
