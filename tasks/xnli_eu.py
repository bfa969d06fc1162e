from xlbench.nli import NLITask
from xlbench.registry import register_task
from xlbench.table_task import TableTask


@register_task("xnli-eu")
class XNLIeu(TableTask, NLITask):
    """XNLIeu: XNLI in Basque, machine-translated and post-edited by people, trained on in English.

    Row i is row i of XNLI.
    """

    version = "1"
    languages = ("en", "eu")
    dataset, config = "HiTZ/xnli-eu", "{language}"
    rows_from = {"en": "xnli"}
    order_of = "xnli"
    unit, units, parallel = "premise", 1670, "ntrex-128"
    license = "CC BY-NC 4.0"
    citation = "Heredia et al. (2024), XNLIeu: a dataset for cross-lingual NLI in Basque, NAACL. arXiv 2404.06996"
