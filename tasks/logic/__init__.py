from collections.abc import Mapping, Sequence
from functools import cache
from typing import ClassVar

from xlbench.corpora import Pair
from xlbench.nli import NLI_LANGUAGES, NLITask
from xlbench.problem import MultipleChoice, TokenLabelling
from xlbench.registry import register_task
from xlbench.sources import DataSource
from xlbench.task import Row, SplitName, Task

from . import grammar, tags


class GrammarTask(Task):
    """What the tasks of the grammar share: where they come from, and parallel text of sentences that no split has."""

    languages: ClassVar[tuple[str, ...]] = NLI_LANGUAGES
    units = grammar.PREMISES["test"]
    license = "MIT, as xlbench itself"
    citation = (
        "xlbench; after Salvatore et al. (2019), A logical-based corpus for cross-lingual evaluation, "
        "DeepLo. arXiv 1905.05704"
    )

    def parallel_pairs(self, language: str, size: int, source: DataSource) -> list[Pair]:
        """Sentences of the grammar and their translations, as many to a pair as a row has fields."""
        width = len(self.fields)
        forms = grammar.sentences("parallel", min(width * size, grammar.PARALLEL))
        ours, theirs = ([grammar.say(form, spoken) for form in forms] for spoken in (self.source, language))
        return [
            Pair(f"logic-parallel-{i // width}", language, tuple(ours[i : i + width]), tuple(theirs[i : i + width]))
            for i in range(0, len(forms) - width + 1, width)
        ]


@register_task("logic")
class Logic(GrammarTask, NLITask):
    """NLI rows from a small grammar, in the 15 XNLI languages; nothing to download.

    People visit places, invite and outgrow each other; each row tests one phenomenon (coordination, negation,
    quantifiers, comparatives, counting, definite descriptions, after the idea of CLCD, Salvatore et al. 2019).
    Three rows share a premise, one a label; rows are parallel over languages. The parallel corpus `logic` has
    sentences that no split has.
    """

    word_sets: ClassVar = {"yes-no": NLITask.label_words}  # tiny has not read the others

    version = "1"
    parallel = "logic"

    def rows(self, split: SplitName, language: str, source: DataSource) -> Sequence[Row]:
        return _rows(split, language)

    def test_in_source(self, language: str, source: DataSource) -> Mapping[str, tuple[str, ...]]:
        """The grammar says the same in the source language: exact translations."""
        return {row.id: row.texts for row in _rows("test", self.source)}


@register_task("logic-choice")
class LogicChoice(GrammarTask):
    """Which of three sentences follows from a text: the premises of `logic`, the one that follows among its hypotheses.

    The choices are a premise's three hypotheses: one follows, one is left open, one is contradicted; chance is 1 in 3.
    In each phenomenon the right one stands first, second and third equally often. Rows are parallel over languages; a
    row is a premise, and no sentence is in two splits.
    """

    version = "1"
    parallel = "logic-choice"
    problem, fields = MultipleChoice(most=3), ("premise",)

    def rows(self, split: SplitName, language: str, source: DataSource) -> Sequence[Row]:
        return _choices(split, language)

    def test_in_source(self, language: str, source: DataSource) -> Mapping[str, tuple[str, ...]]:
        """The grammar says the same in the source language: exact translations."""
        return {row.id: (*row.texts, *row.choices) for row in _choices("test", self.source)}


@register_task("logic-tags")
class LogicTags(GrammarTask):
    """Who, where and when: the names and times in the premises of `logic`, as B- and I- of words; F1 of spans.

    Half of the sentences that tell of an event get a time (a weekday, a month or a year), and two persons of five a
    family name, so that spans have one word or several in every language; an I-LOC is in French and Spanish alone (Le
    Pirée). Names and times have no preposition, article or postposition in them. How a text becomes words, Thai and
    Chinese too, says `tags.py`. Rows of one id are translations of each other; no sentence is in two splits.
    """

    version = "1"
    parallel = "logic-tags"
    problem, fields = TokenLabelling(tags.TAGS), ("words",)
    unit = "text"

    def rows(self, split: SplitName, language: str, source: DataSource) -> Sequence[Row]:
        return _tagged(split, language)


@cache
def _rows(split: str, language: str) -> tuple[Row, ...]:
    return tuple(
        Row(item.id, grammar.render(item, language), item.label, language, item.premise_id, item.phenomenon)
        for item in grammar.items(split)
    )


@cache
def _choices(split: str, language: str) -> tuple[Row, ...]:
    """A row a premise: the one that follows at each place in turn, the other two as they were dealt."""
    items, rows = grammar.items(split), []
    for number in range(len(items) // 3):
        three = items[3 * number : 3 * number + 3]
        place = number // len(grammar.PHENOMENA) % 3
        others = [item for item in three if item.label != grammar.LABELS[0]]
        (right,) = set(three) - set(others)
        said = [grammar.render(item, language) for item in (*others[:place], right, *others[place:])]
        choices = tuple(hypothesis for _, hypothesis in said)
        rows.append(Row(right.premise_id, said[0][:1], place, language, right.premise_id, right.phenomenon, choices))
    return tuple(rows)


@cache
def _tagged(split: str, language: str) -> tuple[Row, ...]:
    rows = []
    for item in grammar.items(split)[::3]:
        words = tags.tagged(item.premise, language, f"logic-tags 1: {item.premise_id}")
        gold = tuple(tags.TAGS.index(word.tag) for word in words)
        texts = tuple(word.text for word in words)
        rows.append(Row(item.premise_id, texts, gold, language, item.premise_id, item.phenomenon))
    return tuple(rows)
