from xlbench.errors import XlbenchError
from xlbench.registry import register_task
from xlbench.sources import DataSource, Table
from xlbench.table_task import TableTask
from xlbench.task import SplitName


@register_task("mldoc")
class MLDoc(TableTask):
    """MLDoc: four topics of Reuters news in eight languages, from the folder of a user who has the licence.

    Only indices of documents are public; the texts need an agreement with NIST (RCV1, RCV2). The folder below the data
    root is `mldoc/<language>/<split>.parquet` (or CSV, TSV, JSON lines) with the columns text and label.
    """

    version = "1"
    languages, aligned = ("en", "de", "es", "fr", "it", "ja", "ru", "zh"), False
    labels, fields = ("CCAT", "ECAT", "GCAT", "MCAT"), ("text",)
    dataset = "mldoc"
    label_words = {"en": ("business", "economy", "government", "market")}
    unit = "document"
    license = "RCV1 and RCV2, by agreement with NIST"
    citation = "Schwenk and Li (2018), A Corpus for Multilingual Document Classification in Eight Languages, LREC. arXiv 1805.09821"  # noqa: E501

    def table(
        self, split: SplitName, language: str, source: DataSource, columns: tuple[str, ...], part: str = ""
    ) -> Table:
        if source.root is None:
            raise XlbenchError(
                "task mldoc is on no dataset hub, for its texts need a licence; give --data-root DIR with "
                "DIR/mldoc/<language>/<split>.parquet"
            )
        return super().table(split, language, source, columns)
