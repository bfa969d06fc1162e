"""Codes of languages as datasets write them: `zh-CN`, `sr-Latn`, `eng_Latn`, `jp`, and the language that each means."""

import re

# ISO 639-3 codes, and older or wrong ones, of languages that have a code of two letters (ISO 639-1); of a macrolanguage
# its commonest member too, by which datasets name it. https://iso639-3.sil.org/code_tables/639/data
SHORT = {
    "abk": "ab",
    "aar": "aa", "afr": "af", "aka": "ak", "twi": "tw", "amh": "am", "ara": "ar", "arb": "ar", "arg": "an", "asm": "as",
    "ava": "av", "ave": "ae", "aym": "ay", "ayr": "ay", "aze": "az", "azj": "az", "bak": "ba", "bam": "bm", "bel": "be",
    "ben": "bn", "bis": "bi", "bod": "bo", "bos": "bs", "bre": "br", "bul": "bg", "cat": "ca", "ces": "cs", "cha": "ch",
    "che": "ce", "chu": "cu", "chv": "cv", "cmn": "zh", "zho": "zh", "cor": "kw", "cos": "co", "cym": "cy", "dan": "da",
    "deu": "de", "div": "dv", "dzo": "dz", "ell": "el", "eng": "en", "epo": "eo", "est": "et", "ekk": "et", "eus": "eu",
    "ewe": "ee", "fao": "fo", "fas": "fa", "pes": "fa", "fij": "fj", "fin": "fi", "fra": "fr", "fry": "fy", "ful": "ff",
    "gla": "gd", "gle": "ga", "glg": "gl", "glv": "gv", "grn": "gn", "gug": "gn", "guj": "gu", "hat": "ht", "hau": "ha",
    "heb": "he", "her": "hz", "hin": "hi", "hmo": "ho", "hrv": "hr", "hun": "hu", "hye": "hy", "ibo": "ig", "ido": "io",
    "iii": "ii", "iku": "iu", "ina": "ia", "ind": "id", "ipk": "ik", "isl": "is", "ita": "it", "jav": "jv", "jpn": "ja",
    "jp": "ja", "kal": "kl", "kan": "kn", "kas": "ks", "kat": "ka", "kaz": "kk", "khm": "km", "kik": "ki", "kin": "rw",
    "kir": "ky", "kom": "kv", "kon": "kg", "kor": "ko", "kur": "ku", "kmr": "ku", "lao": "lo", "lat": "la", "lav": "lv",
    "lvs": "lv", "lim": "li", "lin": "ln", "lit": "lt", "ltz": "lb", "lub": "lu", "lug": "lg", "mah": "mh", "mal": "ml",
    "mar": "mr", "mkd": "mk", "mlg": "mg", "plt": "mg", "mlt": "mt", "mon": "mn", "khk": "mn", "mri": "mi", "msa": "ms",
    "zsm": "ms", "mya": "my", "nau": "na", "nav": "nv", "nbl": "nr", "nde": "nd", "ndo": "ng", "nep": "ne", "npi": "ne",
    "nld": "nl", "nno": "nn", "nob": "nb", "nor": "no", "nya": "ny", "oci": "oc", "oji": "oj", "ori": "or", "ory": "or",
    "orm": "om", "gaz": "om", "oss": "os", "pan": "pa", "pli": "pi", "pol": "pl", "por": "pt", "pus": "ps", "pbt": "ps",
    "que": "qu", "roh": "rm", "ron": "ro", "run": "rn", "rus": "ru", "sag": "sg", "san": "sa", "sin": "si", "slk": "sk",
    "slv": "sl", "sme": "se", "smo": "sm", "sna": "sn", "snd": "sd", "som": "so", "sot": "st", "spa": "es", "sqi": "sq",
    "als": "sq", "srd": "sc", "srp": "sr", "ssw": "ss", "sun": "su", "swa": "sw", "swh": "sw", "swe": "sv", "tah": "ty",
    "tam": "ta", "tat": "tt", "tel": "te", "tgk": "tg", "tgl": "tl", "tha": "th", "tir": "ti", "ton": "to", "tsn": "tn",
    "tso": "ts", "tuk": "tk", "tur": "tr", "uig": "ug", "ukr": "uk", "urd": "ur", "uzb": "uz", "uzn": "uz", "ven": "ve",
    "vie": "vi", "vol": "vo", "wln": "wa", "wol": "wo", "xho": "xh", "yid": "yi", "ydd": "yi", "yor": "yo", "zha": "za",
    "zul": "zu",
}  # fmt: skip

_CODE = re.compile(r"([A-Za-z]{2,3})(?:[-_]([A-Za-z]{4}))?(?:[-_]([A-Za-z]{2}|[0-9]{3}))?(?:[-_].*)?")


def language_of(code: str) -> str:
    """The language of a dataset's code, of two letters where ISO 639-1 has one: `zh` of `zh-CN`, `en` of `eng_Latn`.

    What is no such code (`english`, `my-own`) stands for itself.
    """
    match = _CODE.fullmatch(code)
    if match is None or (len(code) > 3 and not any(match.groups()[1:])):
        return code
    language = match[1].lower()
    return SHORT.get(language, language)


def script_of(code: str) -> str:
    """The script that a code names, as `Latn` of `sr-Latn`; empty where it names none."""
    match = _CODE.fullmatch(code)
    return (match[2] or "").title() if match else ""
