from xlbench.nli import NLITask
from xlbench.registry import register_task
from xlbench.table_task import TableTask


@register_task("afri-xnli")
class AfriXNLI(TableTask, NLITask):
    """AfriXNLI: XNLI rows in 16 African languages, English and French, translated by people; shots are MNLI's.

    Aligned by the order of rows, which the labels of every language confirm.
    """

    version = "1"
    source = "eng"
    languages = (
        "eng", "fra", "amh", "ewe", "hau", "ibo", "kin", "lin", "lug", "orm", "sna", "sot", "swa", "twi", "wol", "xho",
        "yor", "zul",
    )  # fmt: skip
    dataset = "masakhane/afrixnli"
    rows_from = {"train:eng": "xnli"}
    units_by = "premise"
    unit = "premise"
    license = "Apache 2.0"
    citation = "Adelani et al. (2025), IrokoBench: A New Benchmark for African Languages in the Age of Large Language Models, NAACL. arXiv 2406.03368"  # noqa: E501
