from collections.abc import Mapping, Sequence
from functools import cache

from xlbench.corpora import Pair
from xlbench.nli import NLITask
from xlbench.registry import register_task
from xlbench.sources import DataSource
from xlbench.task import Row, SplitName

from . import grammar


@register_task("logic")
class Logic(NLITask):
    """NLI rows from a small grammar, in the 15 XNLI languages; nothing to download.

    People visit places, invite and outgrow each other; each row tests one phenomenon (coordination, negation,
    quantifiers, comparatives, counting, definite descriptions, after the idea of CLCD, Salvatore et al. 2019).
    Three rows share a premise, one a label; rows are parallel over languages. The parallel corpus `logic` has
    sentences that no split has.
    """

    version = "1"
    units = grammar.PREMISES["test"]
    parallel = "logic"
    license = "MIT, as xlbench itself"
    citation = (
        "xlbench; after Salvatore et al. (2019), A logical-based corpus for cross-lingual evaluation, "
        "DeepLo. arXiv 1905.05704"
    )

    def rows(self, split: SplitName, language: str, source: DataSource) -> Sequence[Row]:
        return _rows(split, language)

    def test_in_source(self, language: str, source: DataSource) -> Mapping[str, tuple[str, ...]]:
        """The grammar says the same in the source language: exact translations."""
        return {row.id: row.texts for row in _rows("test", self.source)}

    def parallel_pairs(self, language: str, size: int, source: DataSource) -> list[Pair]:
        """Sentences of the grammar and their translations, two by two as premise and hypothesis."""
        forms = grammar.sentences("parallel", min(2 * size, grammar.PARALLEL))
        sides = [[grammar.say(form, spoken) for form in forms] for spoken in (self.source, language)]
        ours, theirs = sides
        return [
            Pair(f"logic-parallel-{i // 2}", language, (ours[i], ours[i + 1]), (theirs[i], theirs[i + 1]))
            for i in range(0, len(forms) - 1, 2)
        ]


@cache
def _rows(split: str, language: str) -> tuple[Row, ...]:
    return tuple(
        Row(item.id, grammar.render(item, language), item.label, language, item.premise_id, item.phenomenon)
        for item in grammar.items(split)
    )
