from xlbench.registry import register_task
from xlbench.sources import DataSource, Table
from xlbench.table_task import TableTask
from xlbench.task import SplitName

PHENOMENA = (
    "simple_negation", "boolean_coordination", "quantifier", "equality_and_definite_description", "counting",
    "comparative", "mixed",
)  # fmt: skip


@register_task("clcd")
class CLCD(TableTask):
    """CLCD: whether one sentence contradicts another, in seven phenomena of logic, English and Portuguese.

    Made from templates over names and places. A quarter of a phenomenon's train rows is dev. Languages have rows of
    their own.
    """

    version = "1"
    languages, aligned = ("en", "pt"), False
    labels, fields = ("no contradiction", "contradiction"), ("first", "second")
    dataset, config = "felipessalvatore/CLCD", "{language}/{part}"
    parts = PHENOMENA
    codes = {"en": "English", "pt": "Portuguese"}
    columns = {"first": "sentence1", "second": "sentence2"}
    split_names = {"train": "train", "validation": "train", "test": "test"}
    label_words = {"en": ("yes", "no"), "pt": ("sim", "não")}
    license = "MIT"
    citation = "Salvatore et al. (2019), A logical-based corpus for cross-lingual evaluation, DeepLo. arXiv 1905.05704"

    def table(
        self, split: SplitName, language: str, source: DataSource, columns: tuple[str, ...], part: str = ""
    ) -> Table:
        return super().table(split, language, source, columns, part if language == "en" else f"{part}_pt")
