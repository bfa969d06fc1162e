from xlbench.problem import Classification
from xlbench.registry import register_task
from xlbench.table_task import TableTask


@register_task("tweet-sentiment")
class TweetSentiment(TableTask):
    """UMSAB: sentiment of tweets in eight languages, written in each, balanced over labels; macro-F1, as published."""

    version = "1"
    languages = ("en", "ar", "de", "es", "fr", "hi", "it", "pt")
    codes = {
        "en": "english", "ar": "arabic", "de": "german", "es": "spanish", "fr": "french", "hi": "hindi",
        "it": "italian", "pt": "portuguese",
    }  # fmt: skip
    problem = Classification(("negative", "neutral", "positive"), ("macro-F1", "accuracy"))
    fields, aligned = ("text",), False
    dataset, revision = "cardiffnlp/tweet_sentiment_multilingual", "refs/convert/parquet"
    label_words = {"en": ("bad", "ok", "good")}
    unit, parallel = "tweet", "ntrex-128"
    license = "CC BY 3.0, and the terms of Twitter"
    citation = "Barbieri et al. (2022), XLM-T: Multilingual Language Models in Twitter for Sentiment Analysis and Beyond, LREC. arXiv 2104.12250"  # noqa: E501
