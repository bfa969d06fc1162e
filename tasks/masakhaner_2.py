from xlbench.problem import TokenLabelling
from xlbench.registry import register_task
from xlbench.table_task import TableTask, names

LANGUAGES = names("swa bam bbj ewe fon hau ibo kin lug luo mos nya pcm sna tsn twi wol xho yor zul")


@register_task("masakhaner-2")
class MasakhaNER2(TableTask):
    """MasakhaNER 2.0: persons, organisations, places and dates in 20 African languages, written in each; F1 of names.

    There is no English: Swahili is the source. (What is published from English trains on CoNLL-2003, which may not be
    passed on, without dates.) Neighbouring sentences are of one article; articles have no ids.
    """

    version = "1"
    source = "swa"
    languages, aligned = LANGUAGES, False
    problem = TokenLabelling(("O", *(f"{mark}-{name}" for name in ("PER", "ORG", "LOC", "DATE") for mark in "BI")))
    fields = ("words",)
    dataset, revision = "masakhane/masakhaner2", "refs/convert/parquet"
    columns = {"words": "tokens"}
    label_column = "ner_tags"
    unit = "sentence"
    license = "AFL 3.0 on the hub, CC BY-NC 4.0 in its repository"
    citation = "Adelani et al. (2022), MasakhaNER 2.0: Africa-centric Transfer Learning for Named Entity Recognition, EMNLP. arXiv 2210.12391"  # noqa: E501
