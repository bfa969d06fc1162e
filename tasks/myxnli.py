from xlbench.nli import NLITask
from xlbench.registry import register_task
from xlbench.table_task import TableTask


@register_task("myxnli")
class MyXNLI(TableTask, NLITask):
    """myXNLI: XNLI in Burmese, translated and revised by people, trained on in English.

    English and Burmese stand side by side in a row, labels are names. The English rows are read from XNLI, of which
    theirs differ in nine. Test rows are there in machine translation too (`--read translation`), in a file beside the
    hub's.
    """

    version = "1"
    languages = ("en", "my")
    dataset, config = "akhtet/myanmar-xnli", "default"
    columns = {"premise": "sentence1_{language}", "hypothesis": "sentence2_{language}"}
    rows_from = {"en": "xnli"}
    order_of = "xnli"
    in_source = ("default", "test_translated_to_en", ("premise", "hypothesis"))
    machine_translated = "machine translation, from the repository of myXNLI"
    unit, units, parallel = "premise", 1670, "ntrex-128"
    license = "CC BY-NC 4.0"
    citation = "Htet and Dras (2025), myXNLI: Burmese natural language inference. arXiv 2504.09645"
