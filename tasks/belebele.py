from xlbench.problem import MultipleChoice
from xlbench.registry import register_task
from xlbench.table_task import TableTask, names

LANGUAGES = names("""
acm_Arab afr_Latn als_Latn amh_Ethi apc_Arab arb_Arab arb_Latn ars_Arab ary_Arab arz_Arab asm_Beng azj_Latn bam_Latn
ben_Beng ben_Latn bod_Tibt bul_Cyrl cat_Latn ceb_Latn ces_Latn ckb_Arab dan_Latn deu_Latn ell_Grek eng_Latn est_Latn
eus_Latn fin_Latn fra_Latn fuv_Latn gaz_Latn grn_Latn guj_Gujr hat_Latn hau_Latn heb_Hebr hin_Deva hin_Latn hrv_Latn
hun_Latn hye_Armn ibo_Latn ilo_Latn ind_Latn isl_Latn ita_Latn jav_Latn jpn_Jpan kac_Latn kan_Knda kat_Geor kaz_Cyrl
kea_Latn khk_Cyrl khm_Khmr kin_Latn kir_Cyrl kor_Hang lao_Laoo lin_Latn lit_Latn lug_Latn luo_Latn lvs_Latn mal_Mlym
mar_Deva mkd_Cyrl mlt_Latn mri_Latn mya_Mymr nld_Latn nob_Latn npi_Deva npi_Latn nso_Latn nya_Latn ory_Orya pan_Guru
pbt_Arab pes_Arab plt_Latn pol_Latn por_Latn ron_Latn rus_Cyrl shn_Mymr sin_Latn sin_Sinh slk_Latn slv_Latn sna_Latn
snd_Arab som_Latn sot_Latn spa_Latn srp_Cyrl ssw_Latn sun_Latn swe_Latn swh_Latn tam_Taml tel_Telu tgk_Cyrl tgl_Latn
tha_Thai tir_Ethi tsn_Latn tso_Latn tur_Latn ukr_Cyrl urd_Arab urd_Latn uzn_Latn vie_Latn war_Latn wol_Latn xho_Latn
yor_Latn zho_Hans zho_Hant zsm_Latn zul_Latn
""")


@register_task("belebele")
class Belebele(TableTask):
    """Belebele: questions about a passage with four answers, in 122 languages, translated by people.

    Aligned by passage and question; the passage is the unit. The dataset is a test alone: here three of five passages
    are train and one is dev, in every language, and the rest, 1 in 5, is tested, so that figures are not those of the
    whole test. Passages are FLORES: no parallel text for it. A passage and a question may need --max-length 384.
    """

    version = "1"
    source = "eng_Latn"
    languages = LANGUAGES
    problem, fields = MultipleChoice(most=4), ("passage", "question")
    dataset = "facebook/belebele"
    columns = {"passage": "flores_passage"}
    split_names = {"train": "test", "validation": "test", "test": "test"}
    label_column, first_choice = "correct_answer_num", 1
    choice_columns = ("mc_answer1", "mc_answer2", "mc_answer3", "mc_answer4")
    key = ("link", "question_number")
    unit_column = "link"
    templates = {"pair": dict.fromkeys(LANGUAGES, "{passage}<sep>{question} {choice}")}
    unit = "passage"
    license = "CC BY-SA 4.0"
    citation = "Bandarkar et al. (2024), The Belebele Benchmark: a Parallel Reading Comprehension Dataset in 122 Language Variants, ACL. arXiv 2308.16884"  # noqa: E501
