from xlbench.nli import NLITask
from xlbench.registry import register_task
from xlbench.table_task import TableTask

SETS = (
    "hans", "diagnostics", "fragments", "stress_antonym", "stress_synonym", "stress_numerical", "stress_spelling",
    "stress_distraction_hypo", "stress_distraction_premise",
)  # fmt: skip


@register_task("chinese-nli-probing")
class ChineseNLIProbing(TableTask, NLITask):
    """Nine challenge sets of Chinese inference: HANS, diagnostics, fragments, stress tests; English shots are XNLI's.

    Each set is a phenomenon, shown for itself; sets of one class alone (antonyms, synonyms) say nothing without the
    others. Rows without a label are left out. Half of the stress tests are XNLI's own Chinese rows. Not on the hub.
    """

    version = "1"
    languages, tested, aligned = ("en", "zh"), ("zh",), False
    dataset, config = "huhailinguist/ChineseNLIProbing", "{part}"
    columns = {"premise": "sentence1", "hypothesis": "sentence2"}
    parts = SETS
    rows_from = {"en": "xnli"}
    only_labels = True
    units_by = "premise"
    unit = "first sentence"
    license = "none stated; OCNLI's rows are CC BY-NC 2.0"
    citation = "Hu et al. (2021), Investigating Transfer Learning in Multilingual Pre-trained Language Models through Chinese Natural Language Inference, Findings of ACL. arXiv 2106.03983"  # noqa: E501
