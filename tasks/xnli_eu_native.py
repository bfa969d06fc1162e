from xlbench.nli import NLITask
from xlbench.registry import register_task
from xlbench.table_task import TableTask


@register_task("xnli-eu-native")
class XNLIeuNative(TableTask, NLITask):
    """The native test set of XNLIeu: 621 pairs written in Basque, three a premise, trained on in English (XNLI).

    They are no translations, so Basque is tested alone; there is a machine translation into English to read them in.
    """

    version = "1"
    languages, tested, aligned = ("en", "eu"), ("eu",), False
    dataset, config = "HiTZ/xnli-eu", "eu_native"
    rows_from = {"en": "xnli"}
    units_by = "premise"
    in_source = ("eu_native", "test_translated_to_en", ("premise", "hypothesis"))
    machine_translated = "machine translation, published with XNLIvar (Bengoetxea et al. 2025)"
    unit, units, parallel = "premise", 207, "ntrex-128"
    license = "CC BY-NC 4.0"
    citation = "Heredia et al. (2024), XNLIeu: a dataset for cross-lingual NLI in Basque, NAACL. arXiv 2404.06996"
