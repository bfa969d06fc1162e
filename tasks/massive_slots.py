import re
from collections.abc import Sequence
from functools import cache

from xlbench.errors import XlbenchError
from xlbench.problem import TokenLabelling
from xlbench.registry import register_task
from xlbench.sources import DataSource
from xlbench.table_task import TableTask, names
from xlbench.task import Row, SplitName

LOCALES = names("""
en-US af-ZA am-ET ar-SA az-AZ bn-BD ca-ES cy-GB da-DK de-DE el-GR es-ES fa-IR fi-FI fr-FR he-IL hi-IN hu-HU hy-AM id-
ID is-IS it-IT ja-JP jv-ID ka-GE km-KH kn-IN ko-KR lv-LV ml-IN mn-MN ms-MY my-MM nb-NO nl-NL pl-PL pt-PT ro-RO ru-RU
sl-SL sq-AL sv-SE sw-KE ta-IN te-IN th-TH tl-PH tr-TR ur-PK vi-VN zh-CN zh-TW
""")

SLOTS = names("""
alarm_type app_name artist_name audiobook_author audiobook_name business_name business_type change_amount coffee_type
color_type cooking_type currency_name date definition_word device_type drink_type email_address email_folder
event_name food_type game_name game_type general_frequency house_place ingredient joke_type list_name meal_type
media_type movie_name movie_type music_album music_descriptor music_genre news_topic order_type person personal_info
place_name player_setting playlist_name podcast_descriptor podcast_name radio_name relation song_name sport_type time
time_zone timeofday transport_agency transport_descriptor transport_name transport_type weather_descriptor
""")

BY_CHARACTER = ("ja-JP", "th-TH", "zh-CN", "zh-TW")  # split so in the reference code
_SLOT = re.compile(r"\[\s*(\w+)\s*:\s*([^\]]*)\]")


@register_task("massive-slots")
class MassiveSlots(TableTask):
    """MASSIVE: 55 slots of spoken requests in 52 locales, as B- and I- of words; F1 of slots.

    Slots are read off `annot_utt` (`wake me at [time : nine am]`); Chinese, Japanese and Thai are split by character,
    as in the reference code. Aligned by `id`.
    """

    version = "1"
    source = "en-US"
    languages = LOCALES
    problem = TokenLabelling(("O", *(f"{mark}-{slot}" for slot in SLOTS for mark in "BI")))
    fields = ("words",)
    dataset, revision = "AmazonScience/massive", "refs/convert/parquet"
    unit, units = "request", 2974
    license = "CC BY 4.0"
    citation = "FitzGerald et al. (2023), MASSIVE: A 1M-Example Multilingual Natural Language Understanding Dataset with 51 Typologically-Diverse Languages, ACL. arXiv 2204.08582"  # noqa: E501

    def rows(self, split: SplitName, language: str, source: DataSource) -> Sequence[Row]:
        return _rows(split, language, source)


@cache
def _rows(split: SplitName, language: str, source: DataSource) -> tuple[Row, ...]:
    task = MassiveSlots()
    table = task.table(split, language, source, ("id", "annot_utt"))
    rows = []
    for index, (key, text) in enumerate(zip(table.columns["id"], table.columns["annot_utt"], strict=True)):
        try:
            words, tags = words_and_tags(text or "", language in BY_CHARACTER)
        except ValueError as fault:
            raise XlbenchError(f"{table.place}, row {index}: {fault}") from fault
        gold = tuple(map(task.labels.index, tags))
        rows.append(Row(f"{split}-{key}", tuple(words), gold, language, f"{split}-{key}"))
    return tuple(rows)


def words_and_tags(annotated: str, by_character: bool = False) -> tuple[list[str], list[str]]:
    """The words of an annotated request, and a tag for each. Raises ValueError for a slot that is not known.

    `wake me at [time : nine am]` is wake, me, at, nine, am with O, O, O, B-time, I-time.
    """
    words: list[str] = []
    tags: list[str] = []
    parts = _SLOT.split(annotated)
    for number in range(0, len(parts), 3):
        slot = parts[number - 2] if number else ""
        inside = parts[number - 1] if number else ""
        if slot and slot not in SLOTS:
            raise ValueError(f"unknown slot {slot!r}")
        for text, name in ((inside, slot), (parts[number], "")):
            found = [letter for letter in text if not letter.isspace()] if by_character else text.split()
            words += found
            tags += [f"{'I' if place else 'B'}-{name}" if name else "O" for place in range(len(found))]
    return words, tags
