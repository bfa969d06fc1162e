from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from xlbench.problem import MultipleChoice
from xlbench.registry import register_task
from xlbench.table_task import TableTask
from xlbench.task import Row


@register_task("xwinograd")
class XWinograd(TableTask):
    """XWinograd: who a pronoun stands for, in six languages; the sentence has `_` where it stood.

    Rows are written in each language, and come in pairs of neighbours that differ in a word and in the answer: the pair
    is the unit. There is no train split: three of five English pairs are train and one is dev here, and the rest is
    tested, with every row of the other languages.
    """

    version = "1"
    languages, aligned = ("en", "fr", "ja", "pt", "ru", "zh"), False
    codes = {"ja": "jp"}
    problem, fields = MultipleChoice(most=2), ("sentence",)
    dataset = "Muennighoff/xwinograd"
    split_names = {"train": "test", "validation": "test", "test": "test"}
    label_column, choice_columns, first_choice = "answer", ("option1", "option2"), 1
    unit = "pair of sentences"
    license = "CC BY 4.0; parts under their own terms"
    citation = "Tikhonov and Ryabinin (2021), It's All in the Heads: Using Attention Heads as a Baseline for Cross-Lingual Transfer in Commonsense Reasoning, Findings of ACL. arXiv 2106.12066"  # noqa: E501

    def arranged(self, row: Row, values: Mapping[str, Any]) -> Row:
        split, number = row.id.rsplit("-", 1)
        return replace(row, unit=f"{split}-pair-{int(number) // 2}")
