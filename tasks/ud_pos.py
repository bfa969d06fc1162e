from xlbench.problem import TokenLabelling
from xlbench.registry import register_task
from xlbench.sources import DataSource, Table
from xlbench.table_task import TableTask, names
from xlbench.task import SplitName

TAGS = (
    "NOUN", "PUNCT", "ADP", "NUM", "SYM", "SCONJ", "ADJ", "PART", "DET", "CCONJ", "PROPN", "PRON", "X", "_", "ADV",
    "INTJ", "VERB", "AUX",
)  # fmt: skip  # in the order of their numbers on the hub; XTREME's copy has another


@register_task("ud-pos")
class UDPOS(TableTask):
    """Parts of speech in the Parallel treebanks of Universal Dependencies: the same 1,000 sentences in 21 languages.

    The one token task whose languages are paired. Shots come from an English treebank that is not parallel to them,
    LinES, train and validation. Words that the treebank splits have `_`, and are left out. Accuracy over words.
    """

    version = "1"
    languages = names("en ar cs de es fi fr gl hi id is it ja ko pl pt ru sv th tr zh")
    problem, fields = TokenLabelling(tuple(tag for tag in TAGS if tag != "_")), ("words",)
    dataset, revision = "universal-dependencies/universal_dependencies", "refs/convert/parquet"
    config = "{language}_pud"
    columns = {"words": "tokens"}
    label_column = "upos"
    label_values = {str(number): tag for number, tag in enumerate(TAGS)}
    drop_tags = ("_",)
    key = ("idx",)
    unit, units = "sentence", 1000
    license = "CC BY-SA 3.0 (PUD), CC BY-NC-SA 4.0 (LinES)"
    citation = "Zeman et al. (2017), CoNLL 2017 Shared Task: Multilingual Parsing from Raw Text to Universal Dependencies, CoNLL; Nivre et al. (2020), Universal Dependencies v2, LREC"  # noqa: E501

    def table(
        self, split: SplitName, language: str, source: DataSource, columns: tuple[str, ...], part: str = ""
    ) -> Table:
        if split == "test":
            return super().table(split, language, source, columns)
        return source.table(self.dataset, f"{language}_lines", split, columns, self.revision)
