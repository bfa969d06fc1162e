from xlbench.registry import register_task
from xlbench.table_task import TableTask


@register_task("nusax-senti")
class NusaXSenti(TableTask):
    """NusaX: sentiment in ten languages of Indonesia, Indonesian and English, translated by people from Indonesian.

    Aligned by `id`, with the same labels in every language. NusaX-MT holds the same sentences: no parallel text for it.
    """

    version = "1"
    source = "eng"
    languages = ("eng", "ind", "ace", "ban", "bbc", "bjn", "bug", "jav", "mad", "min", "nij", "sun")
    labels, fields = ("negative", "neutral", "positive"), ("text",)
    dataset, revision = "indonlp/NusaX-senti", "refs/convert/parquet"
    key = ("id",)
    label_words = {"eng": ("bad", "ok", "good"), "ind": ("buruk", "biasa", "baik")}
    unit, units, parallel = "text", 400, "ntrex-128"
    license = "CC BY-SA 4.0"
    citation = "Winata et al. (2023), NusaX: Multilingual Parallel Sentiment Dataset for 10 Indonesian Local Languages, EACL. arXiv 2205.15960"  # noqa: E501
