from xlbench.nli import NLITask
from xlbench.registry import register_task
from xlbench.table_task import TableTask


@register_task("kor-nli")
class KorNLI(TableTask, NLITask):
    """KorNLI: XNLI in Korean, test and dev translated by people, trained on in English.

    Of the three configurations only `xnli` has a validation and a test split; the others are machine-translated
    training rows. Row i is row i of XNLI, whose ids and premises it takes.
    """

    version = "1"
    languages = ("en", "ko")
    dataset, config, revision = "kakaobrain/kor_nli", "xnli", "refs/convert/parquet"
    rows_from = {"en": "xnli"}
    order_of = "xnli"
    unit, units, parallel = "premise", 1670, "ntrex-128"
    license = "CC BY-SA 4.0; the English rows are those of XNLI and MNLI, under their own terms"
    citation = "Ham et al. (2020), KorNLI and KorSTS: New Benchmark Datasets for Korean NLU, Findings of EMNLP. arXiv 2004.03289"  # noqa: E501
