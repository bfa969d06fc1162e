from xlbench.problem import TokenLabelling
from xlbench.registry import register_task
from xlbench.table_task import TableTask, names

LANGUAGES = names("""
en af ar az bg bn de el es et eu fa fi fr gu he hi hu id it ja jv ka kk ko lt ml mr ms my nl pa pl pt qu ro ru sw ta
te th tl tr uk ur vi yo zh
""")


@register_task("wikiann")
class WikiANN(TableTask):
    """WikiANN (PAN-X): persons, organisations and places in the 48 languages of XTREME-R; F1 of names.

    Tags were made from links, and are noisy; sentences recur within a split and between splits: those of the test are
    not drawn. Languages have rows of their own.
    """

    version = "1"
    languages, aligned = LANGUAGES, False
    problem, fields = TokenLabelling(("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")), ("words",)
    dataset = "unimelb-nlp/wikiann"
    columns = {"words": "tokens"}
    label_column = "ner_tags"
    unit = "sentence"
    license = "ODC-BY; the texts of Wikipedia are CC BY-SA"
    citation = "Pan et al. (2017), Cross-lingual Name Tagging and Linking for 282 Languages, ACL; splits of Rahimi et al. (2019), Massively Multilingual Transfer for NER, ACL"  # noqa: E501
