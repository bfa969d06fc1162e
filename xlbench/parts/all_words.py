"""AllWords: the base of prompt methods that compare the label words of all languages at once."""

from typing import Any

from xlbench.errors import XlbenchError
from xlbench.method import PromptMethod
from xlbench.prompts import Verbalizer


class AllWords(PromptMethod):
    """`every`: language → its label words; `together`: all of them, language by language.

    A subclass's config has `languages`: "all" (of the task, tested or not) or "source". Languages whose words are not
    there, or cannot be scored, are left out and named; the source's must be there.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        config: Any = self.config
        asked = (self.task.source, *self.task.languages) if config.languages == "all" else (self.task.source,)
        words = {language: self._words_if_any(language) for language in dict.fromkeys(asked)}
        self.every = {language: found for language, found in words.items() if found is not None}
        self.together = Verbalizer.all_of(list(self.every.values()))
        lacking = ", ".join(language for language, found in words.items() if found is None)
        if lacking:
            self.notes.append(f"label words of {lacking} do not count: none, or none that can be scored")

    def _words_if_any(self, language: str) -> Verbalizer | None:
        try:
            return self.words_in(language)
        except XlbenchError:
            if language == self.task.source:
                raise
            return None

    def prompts_read(self) -> dict[str, Any]:
        return {**super().prompts_read(), "all words": {name: own.words for name, own in self.every.items()}}

    def label_ids(self) -> frozenset[int]:
        return super().label_ids() | {piece for pieces in self.together.pieces for piece in pieces}
