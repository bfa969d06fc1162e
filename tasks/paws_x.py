from xlbench.registry import register_task
from xlbench.table_task import TableTask

# the second segment, of the released code of PCT (Qi et al., ACL 2022)
PARAPHRASE = {
    "en": "Question:{second} paraphrase or not? Answer:<mask>",
    "de": "Frage:{second} paraphrasieren oder nicht? Antwort:<mask>",
    "fr": "Question:{second} paraphrase ou pas? Réponse:<mask>",
    "es": "Pregunta: {second} ¿parafrasear o no? Respuesta: <mask>",
    "zh": "问题：{second} 是否转述? 答案：<mask>",
    "ja": "質問：{second}言い換えるかどうか?回答：<mask>",
    "ko": "질문:{second} 의역 여부는? 답:<mask>",
}


@register_task("paws-x")
class PAWSX(TableTask):
    """PAWS-X: whether two sentences of many common words are paraphrases, in seven languages.

    Test and validation were translated by people, train by a machine. Rows are aligned by `id`; those that a language
    lacks, or has as `NS`, are left out of all. Published: the templates of PCT; the label words yes and no, by language
    those of DPA (Zhou et al., Findings of ACL 2023).
    """

    version = "1"
    languages = ("de", "en", "es", "fr", "ja", "ko", "zh")
    labels, fields = ("different", "paraphrase"), ("first", "second")
    dataset = "google-research-datasets/paws-x"
    columns = {"first": "sentence1", "second": "sentence2"}
    label_values = {"0": "different", "1": "paraphrase"}
    key = ("id",)
    shared_keys_only = drop_blank = True
    blanks = ("NS",)
    machine_translated = "machine translation, as published with PAWS-X"
    templates = {"question": {code: f"{{first}}<sep>{text}" for code, text in PARAPHRASE.items()}}
    label_words = {
        "de": ("Nein", "Ja"), "en": ("no", "yes"), "es": ("no", "sí"), "fr": ("non", "Oui"), "ja": ("ない", "はい"),
        "ko": ("아니", "예"), "zh": ("否", "是"),
    }  # fmt: skip
    word_sets = {"dpa": label_words}
    unit, parallel = "pair", "ntrex-128"
    license = "free for any use, with acknowledgement of Google"
    citation = "Yang et al. (2019), PAWS-X: A Cross-lingual Adversarial Dataset for Paraphrase Identification, EMNLP. arXiv 1908.11828"  # noqa: E501
