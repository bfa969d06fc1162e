from xlbench.nli import NLITask
from xlbench.registry import register_task
from xlbench.table_task import TableTask


@register_task("indic-xnli")
class IndicXNLI(TableTask, NLITask):
    """IndicXNLI: XNLI in eleven languages of India, all splits machine-translated, trained on in English.

    Row i is taken to be row i of XNLI; where a label says otherwise, the row is named. Its Hindi is another than that
    of XNLI.
    """

    version = "1"
    languages = ("en", "as", "bn", "gu", "hi", "kn", "ml", "mr", "or", "pa", "ta", "te")
    dataset, revision = "Divyanshu/indicxnli", "refs/convert/parquet"
    rows_from = {"en": "xnli"}
    order_of = "xnli"
    drop_blank = True
    unit, units, parallel = "premise", 1670, "ntrex-128"
    license = "CC0"
    citation = "Aggarwal et al. (2022), IndicXNLI: Evaluating Multilingual Inference for Indian Languages, EMNLP. arXiv 2204.08776"  # noqa: E501
