from xlbench.problem import Classification
from xlbench.registry import register_task
from xlbench.table_task import TableTask


@register_task("afrisenti")
class AfriSenti(TableTask):
    """AfriSenti: sentiment of tweets in 14 African languages, written in each; weighted F1, as its shared task.

    There is no English: Hausa, which has most rows, is the source; `--source` takes another that has a train split.
    """

    version = "1"
    source = "hau"
    languages = (
        "hau", "amh", "arq", "ary", "ibo", "kin", "orm", "pcm", "por", "swa", "tir", "tso", "twi", "yor",
    )  # fmt: skip
    problem = Classification(("negative", "neutral", "positive"), ("weighted-F1", "accuracy"))
    fields, aligned = ("text",), False
    dataset = "masakhane/afrisenti"
    columns = {"text": "tweet"}
    drop_blank = True
    unit = "tweet"
    license = "CC BY 4.0"
    citation = "Muhammad et al. (2023), AfriSenti: A Twitter Sentiment Analysis Benchmark for African Languages, EMNLP. arXiv 2302.08956"  # noqa: E501
