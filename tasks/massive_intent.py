from xlbench.registry import register_task
from xlbench.table_task import TableTask, names

LANGUAGES = names("""
en af am ar az bn cy da de el es fa fi fr he hi hu hy id is it ja jv ka km kn ko lv ml mn ms my nb nl pl pt ro ru sl
sq sv sw ta te th tl tr ur vi zh-CN zh-TW
""")

INTENTS = names("""
alarm_query alarm_remove alarm_set audio_volume_down audio_volume_mute audio_volume_other audio_volume_up
calendar_query calendar_remove calendar_set cooking_query cooking_recipe datetime_convert datetime_query
email_addcontact email_query email_querycontact email_sendemail general_greet general_joke general_quirky iot_cleaning
iot_coffee iot_hue_lightchange iot_hue_lightdim iot_hue_lightoff iot_hue_lighton iot_hue_lightup iot_wemo_off
iot_wemo_on lists_createoradd lists_query lists_remove music_dislikeness music_likeness music_query music_settings
news_query play_audiobook play_game play_music play_podcasts play_radio qa_currency qa_definition qa_factoid qa_maths
qa_stock recommendation_events recommendation_locations recommendation_movies social_post social_query takeaway_order
takeaway_query transport_query transport_taxi transport_ticket transport_traffic weather_query
""")


@register_task("massive-intent")
class MassiveIntent(TableTask):
    """MASSIVE: sixty intents of spoken requests in 51 languages, translated by people, aligned by `id`.

    Read from the copy without a loading script, in which intents have names. Rare intents have fewer rows than most
    numbers of shots: all there are are taken.
    """

    version = "1"
    languages = LANGUAGES
    labels, fields = INTENTS, ("text",)
    dataset = "mteb/amazon_massive_intent"
    label_column = "label_text"
    key = ("id",)
    unit, units, parallel = "request", 2974, "ntrex-128"
    license = "CC BY 4.0"
    citation = "FitzGerald et al. (2023), MASSIVE: A 1M-Example Multilingual Natural Language Understanding Dataset with 51 Typologically-Diverse Languages, ACL. arXiv 2204.08582"  # noqa: E501
