from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from xlbench.method import PromptConfig, PromptMethod
from xlbench.prompts import Encoded
from xlbench.registry import register_method
from xlbench.task import Row
from xlbench.wording import notes_of_english


@register_method("discrete-prompt")
class DiscretePrompt(PromptMethod):
    """Discrete prompting (Zhao & Schütze, EMNLP 2021): words between the texts and `<mask>`, and nothing drawn anew.

    Published: input `premise . Question: hypothesis ? Answer: <mask> .`, closing punctuation of both texts stripped;
    in transfer the English words of the question and the English label words right, maybe, wrong for every language,
    and with in-language training (here `question_words=own`, `label_words=target`) each language's; cross-entropy over
    the label words; all weights train.
    Chosen: from another source language than English, its words; punctuation is what Unicode calls so, where theirs is
    ASCII's; a row that is too long loses the end of its longer text, where theirs loses the hypothesis first; a task of
    one text has no question, and its text stands before `Answer: <mask> .`; languages beside the 15 have lighteval's
    words, or English's.
    """

    class Config(PromptConfig):
        question_words: Literal["source", "own"] = Field(
            "source", description="the question's and answer's words: the source language's for all, or each its own"
        )

    config: "DiscretePrompt.Config"
    template = "discrete"
    published_words = "right-wrong"
    citation = "Zhao and Schütze (2021), Discrete and Soft Prompting for Multilingual Models, EMNLP. arXiv 2109.03630"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.template not in self.task.templates:
            self.notes += notes_of_english(map(self._worded_in, (self.task.source, *self.languages)))

    def encode(self, rows: Sequence[Row], language: str) -> Encoded:
        return super().encode(rows, self._worded_in(language))

    def _worded_in(self, language: str) -> str:
        """The language in whose words rows of a language are asked."""
        return language if self.config.question_words == "own" else self.task.source
