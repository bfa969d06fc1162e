from collections.abc import Sequence

from xlbench.nli import NLITask
from xlbench.registry import register_task
from xlbench.sources import DataSource
from xlbench.task import Row, SplitName

NAMES = {
    "train": ["Ada", "Bo", "Cem", "Dora", "Emil", "Fay", "Gus", "Hana"],
    "validation": ["Ivo", "Jan", "Kim", "Lea", "Max", "Nora", "Olga", "Paul"],
    "test": ["Quin", "Rita", "Sam", "Tea", "Udo", "Vera", "Will", "Yara"],
}
SENTENCES = {  # the premise, then a hypothesis for each label
    "en": ("{} picked three apples.", "{} picked apples.", "{} sold the apples.", "{} picked no apples."),
    "fr": ("{} a cueilli trois pommes.", "{} a cueilli des pommes.", "{} a vendu les pommes.", "{} n'a rien cueilli."),
}


@register_task("harvest")
class Harvest(NLITask):
    """People and apples, in English and French."""

    languages = ("en", "fr")
    license = "MIT"
    citation = "the tests of xlbench"

    def rows(self, split: SplitName, language: str, source: DataSource) -> Sequence[Row]:
        premise, *hypotheses = SENTENCES[language]
        return [
            Row(
                f"{split}-{name}-{label}", (premise.format(name), text.format(name)), label, language, f"{split}-{name}"
            )
            for name in NAMES[split]
            for label, text in enumerate(hypotheses)
        ]
