from xlbench.nli import NLITask
from xlbench.registry import register_task
from xlbench.table_task import TableTask


@register_task("jampatois-nli")
class JamPatoisNLI(TableTask, NLITask):
    """JamPatoisNLI: inference in Jamaican Patois, written by its speakers, trained on in English (XNLI).

    One pair a premise; its 250 train rows are what `--target-shots` draws from.
    """

    version = "1"
    languages, tested, aligned = ("en", "jam"), ("jam",), False
    dataset, config = "Ruth-Ann/jampatoisnli", "default"
    split_names = {"validation": "val"}
    rows_from = {"en": "xnli"}
    target_pool = "train"
    license = "other, as its hub page says"
    citation = "Armstrong et al. (2022), JamPatoisNLI: A Jamaican Patois Natural Language Inference Dataset, Findings of EMNLP. arXiv 2212.03419"  # noqa: E501
