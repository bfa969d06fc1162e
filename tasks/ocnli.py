from xlbench.nli import NLITask
from xlbench.registry import register_task
from xlbench.table_task import TableTask


@register_task("ocnli")
class OCNLI(TableTask, NLITask):
    """OCNLI: natural language inference written in Chinese; shots are XNLI's or, with `--source zh`, its own.

    The labels of its test are not public: its validation split is the test here, and a quarter of its train premises
    are dev. On the hub 0 is neutral and 1 entailment. A premise has up to five rows, and is the unit.
    """

    version = "1"
    languages, tested, aligned = ("en", "zh"), ("zh",), False
    dataset, config = "clue/clue", "ocnli"
    columns = {"premise": "sentence1", "hypothesis": "sentence2"}
    split_names = {"train": "train", "validation": "train", "test": "validation"}
    label_values = {"0": "neutral", "1": "entailment", "2": "contradiction"}
    rows_from = {"en": "xnli"}
    units_by = "premise"
    unit, parallel = "premise", "ntrex-128"
    license = "CC BY-NC 2.0"
    citation = (
        "Hu et al. (2020), OCNLI: Original Chinese Natural Language Inference, Findings of EMNLP. arXiv 2010.05444"
    )
