from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

from xlbench.errors import XlbenchError
from xlbench.problem import MultipleChoice
from xlbench.registry import register_task
from xlbench.sources import DataSource, Table
from xlbench.table_task import TableTask
from xlbench.task import Row, SplitName

# because, so: what XGLM (Lin et al., EMNLP 2022) put between premise and choice
CONNECTORS = {
    "en": ("because", "so"), "et": ("sest", "seetõttu"), "ht": ("poukisa", "donk sa"), "it": ("perché", "quindi"),
    "id": ("karena", "maka"), "qu": ("imataq", "chaymi"), "sw": ("kwa sababu", "kwa hiyo"), "zh": ("因为", "所以"),
    "ta": ("காரணமாக", "எனவே"), "th": ("เพราะ", "ดังนั้น"), "tr": ("çünkü", "bu yüzden"), "vi": ("bởi vì", "vì vậy"),
}  # fmt: skip
SOUND = ("et", "ht", "qu", "ta", "vi", "zh")  # whose column `question` agrees with COPA's


@register_task("xcopa")
class XCOPA(TableTask):
    """XCOPA: which of two sentences is the cause, or the effect, of a premise; eleven languages, and COPA in English.

    An input is the premise with because or so behind it, and a choice. The column `question` is wrong in five languages
    (as published: all of Thai says effect): it is taken from a language in which it is right. Shots are COPA's; the
    English test has public labels in a file of the data root alone.
    """

    version = "1"
    languages = ("en", "et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh")
    tested = languages[1:]
    problem, fields = MultipleChoice(most=2), ("premise",)
    dataset = "cambridgeltl/xcopa"
    choice_columns = ("choice1", "choice2")
    key = ("idx",)
    in_source = ("translation-{language}", "test", ("premise", *choice_columns))
    machine_translated = "machine translation, as published with XCOPA"
    unit, units = "premise", 500
    license = "CC BY 4.0; COPA is under the 2-clause BSD licence"
    citation = (
        "Ponti et al. (2020), XCOPA: A Multilingual Dataset for Causal Commonsense Reasoning, EMNLP. arXiv 2005.00333"
    )

    def table(
        self, split: SplitName, language: str, source: DataSource, columns: tuple[str, ...], part: str = ""
    ) -> Table:
        if language != "en":
            return super().table(split, language, source, columns)
        if split == "test":
            return source.file("copa-en-test.parquet", columns)
        return source.table("aps/super_glue", "copa", split, columns)

    def rows(self, split: SplitName, language: str, source: DataSource) -> Sequence[Row]:
        asked = _questions(split, language, source)
        rows = super().rows(split, language, source)
        return [replace(row, texts=(joined(row.texts[0], asked[row.id], language),)) for row in rows]

    def test_in_source(self, language: str, source: DataSource) -> Mapping[str, tuple[str, ...]]:
        texts, asked = super().test_in_source(language, source), _questions("test", language, source)
        return {id_: (joined(premise, asked[id_], "en"), *both) for id_, (premise, *both) in texts.items()}


def joined(premise: str, question: str, language: str) -> str:
    """A premise without its full stop, and because or so behind it."""
    cause, effect = CONNECTORS[language]
    return f"{premise.strip().rstrip('.。')} {cause if question == 'cause' else effect}"


@cache
def _questions(split: SplitName, language: str, source: DataSource) -> dict[str, str]:
    """Row id → cause or effect: English's own, else that of the first language in which the column is right."""
    task = XCOPA()
    asked = [language] if language in (*SOUND, "en") else list(SOUND)
    for number, code in enumerate(asked):
        try:
            table = task.table(split, code, source, ("idx", "question"))
        except XlbenchError:
            if number + 1 == len(asked):
                raise
            continue
        break
    found = {
        f"{split}-{key}": str(asks) for key, asks in zip(*map(table.columns.get, ("idx", "question")), strict=True)
    }
    odd = sorted(set(found.values()) - {"cause", "effect"})
    if odd:
        raise XlbenchError(f"{table.place} asks for {odd[0]!r}; a question is cause or effect")
    return found
