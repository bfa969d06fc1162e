from xlbench.nli import NLITask
from xlbench.registry import register_task
from xlbench.table_task import TableTask


@register_task("americas-nli")
class AmericasNLI(TableTask, NLITask):
    """AmericasNLI: XNLI rows in ten languages of the Americas, translated by people from Spanish; shots are English.

    The hub has no ids, and some languages lack rows, so each is tested on its own. Dev rows are those of XNLI in
    English: XNLI's test may not serve as parallel text.
    """

    version = "1"
    tested = ("aym", "bzd", "cni", "gn", "hch", "nah", "oto", "quy", "shp", "tar")
    languages, aligned = ("en", *tested), False
    dataset = "nala-cub/americas_nli"
    rows_from = {"en": "xnli"}
    units_by = "premise"
    unit = "premise"
    license = "CC BY-SA 4.0"
    citation = "Ebrahimi et al. (2022), AmericasNLI: Evaluating Zero-shot Natural Language Understanding of Pretrained Multilingual Models in Truly Low-resource Languages, ACL. arXiv 2104.08726"  # noqa: E501
