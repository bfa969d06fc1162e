from xlbench.problem import MultipleChoice
from xlbench.registry import register_task
from xlbench.table_task import TableTask

STORY = ("first", "second", "third", "fourth")


@register_task("xstorycloze")
class XStoryCloze(TableTask):
    """XStoryCloze: which of two sentences ends a story of four, in eleven languages, translated by people.

    Aligned by `story_id`. Its split `eval` is the test; three quarters of its 360 train stories are train here, and the
    others dev.
    """

    version = "1"
    languages = ("en", "ar", "es", "eu", "hi", "id", "my", "ru", "sw", "te", "zh")
    problem, fields = MultipleChoice(most=2), STORY
    dataset, revision = "juletxara/xstory_cloze", "refs/convert/parquet"
    columns = {field: f"input_sentence_{number}" for number, field in enumerate(STORY, 1)}
    split_names = {"train": "train", "validation": "train", "test": "eval"}
    label_column, choice_columns, first_choice = "answer_right_ending", ("sentence_quiz1", "sentence_quiz2"), 1
    key = ("story_id",)
    templates = {"pair": dict.fromkeys(languages, "{first} {second} {third} {fourth}<sep>{choice}")}
    unit, units = "story", 1511
    license = "CC BY-SA 4.0"
    citation = (
        "Lin et al. (2022), Few-shot Learning with Multilingual Generative Language Models, EMNLP. arXiv 2112.10668"
    )
