from xlbench.nli import NLITask
from xlbench.registry import register_task
from xlbench.table_task import TableTask


@register_task("xnli-2")
class XNLI2(TableTask, NLITask):
    """XNLI 2.0: XNLI machine-translated into languages that it lacks, trained on in English.

    Each language is a dataset of its own on the hub, named in English and spelt as there. Row i is taken to be row i of
    XNLI; rows without a text are left out.
    """

    version = "1"
    languages = ("en", "as", "bho", "bn", "gu", "kn", "ml", "mr", "or", "pa", "sa", "ta", "te")
    codes = {
        "as": "assamese", "bho": "bhojpuri", "bn": "bengali", "gu": "gujrati", "kn": "kannada", "ml": "malayalam",
        "mr": "marathi", "or": "odiya", "pa": "punjabi", "sa": "sanskrit", "ta": "tamil", "te": "telugu",
    }  # fmt: skip
    dataset, config = "Harsit/xnli2.0_{language}", "default"
    rows_from = {"en": "xnli"}
    order_of = "xnli"
    drop_blank = True
    unit, units, parallel = "premise", 1670, "ntrex-128"
    license = "not stated; translations of XNLI (CC BY-NC 4.0)"
    citation = "Upadhyay and Upadhya (2023), XNLI 2.0: Improving XNLI dataset and performance on Cross Lingual Understanding. arXiv 2301.06527"  # noqa: E501
