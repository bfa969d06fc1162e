"""Sentences of the logic grammar in every language: inflection, agreement, articles, order."""

import pytest

from xlbench.tasks.logic import forms as f
from xlbench.tasks.logic import grammar, names
from xlbench.tasks.logic.languages import el, fr, ru, tr

# What each line of a language's block below says.
FORMS = (
    f.Visit(("Anna", "Boris"), ("Moscow", "Rome")),
    f.VisitBut("Boris", "Moscow", "Rome"),
    f.Invite("Anna", ("Nikolai", "Irina")),
    f.Invite("Boris", ("Giorgos",), False),
    f.Compare("Anna", "Ahmed", "tall"),
    f.Compare("Boris", "Irina", "old", False),
    f.Equal("Anna", "Boris", "fast"),
    f.VisitCount("Boris", "more", 5),
    f.Neither(("Boris", "Anna"), "Damascus"),
    f.IsThe("Anna", "writer"),
    f.RoleVisit("teacher", "f", "Piraeus", False),
)

EXPECTED = {
    "ar": """
زارت آنا وبوريس موسكو وروما.
زار بوريس موسكو لكنه لم يزر روما.
وجهت آنا دعوة إلى نيكولاي وإلى إيرينا.
لم يوجه بوريس دعوة إلى يورغوس.
آنا أطول من أحمد.
بوريس ليس أكبر سنًا من إيرينا.
آنا بنفس سرعة بوريس.
زار بوريس أكثر من خمس مدن.
لم يزر لا بوريس ولا آنا دمشق.
آنا هي الكاتبة.
لم تزر المعلمة بيرايوس.
""",
    "bg": """
Анна и Борис посетиха Москва и Рим.
Борис посети Москва, но не и Рим.
Анна покани Николай и Ирина.
Борис не покани Йоргос.
Анна е по-висока от Ахмед.
Борис не е по-възрастен от Ирина.
Анна е толкова бърза, колкото и Борис.
Борис посети повече от пет града.
Нито Борис, нито Анна посетиха Дамаск.
Анна е писателката.
Учителката не посети Пирея.
""",
    "de": """
Anna und Boris haben Moskau und Rom besucht.
Boris hat Moskau besucht, aber nicht Rom.
Anna hat Nikolai und Irina eingeladen.
Boris hat Giorgos nicht eingeladen.
Anna ist größer als Ahmed.
Boris ist nicht älter als Irina.
Anna ist genauso schnell wie Boris.
Boris hat mehr als fünf Städte besucht.
Weder Boris noch Anna haben Damaskus besucht.
Anna ist die Schriftstellerin.
Die Lehrerin hat Piräus nicht besucht.
""",
    "el": """
Η Άννα και ο Μπόρις επισκέφθηκαν τη Μόσχα και τη Ρώμη.
Ο Μπόρις επισκέφθηκε τη Μόσχα αλλά όχι τη Ρώμη.
Η Άννα προσκάλεσε τον Νικολάι και την Ιρίνα.
Ο Μπόρις δεν προσκάλεσε τον Γιώργο.
Η Άννα είναι ψηλότερη από τον Αχμέντ.
Ο Μπόρις δεν είναι μεγαλύτερος σε ηλικία από την Ιρίνα.
Η Άννα είναι εξίσου γρήγορη με τον Μπόρις.
Ο Μπόρις επισκέφθηκε περισσότερες από πέντε πόλεις.
Ούτε ο Μπόρις ούτε η Άννα επισκέφθηκαν τη Δαμασκό.
Η Άννα είναι η συγγραφέας.
Η δασκάλα δεν επισκέφθηκε τον Πειραιά.
""",
    "en": """
Anna and Boris visited Moscow and Rome.
Boris visited Moscow but not Rome.
Anna invited Nikolai and Irina.
Boris did not invite Giorgos.
Anna is taller than Ahmed.
Boris is not older than Irina.
Anna is as fast as Boris.
Boris visited more than five cities.
Neither Boris nor Anna visited Damascus.
Anna is the writer.
The teacher did not visit Piraeus.
""",
    "es": """
Anna y Boris visitaron Moscú y Roma.
Boris visitó Moscú, pero no Roma.
Anna invitó a Nikolái y a Irina.
Boris no invitó a Giorgos.
Anna es más alta que Ahmed.
Boris no es mayor que Irina.
Anna es tan rápida como Boris.
Boris visitó más de cinco ciudades.
Ni Boris ni Anna visitaron Damasco.
Anna es la escritora.
La profesora no visitó El Pireo.
""",
    "fr": """
Anna et Boris ont visité Moscou et Rome.
Boris a visité Moscou mais pas Rome.
Anna a invité Nikolaï et Irina.
Boris n'a pas invité Giorgos.
Anna est plus grande qu'Ahmed.
Boris n'est pas plus âgé qu'Irina.
Anna est aussi rapide que Boris.
Boris a visité plus de cinq villes.
Ni Boris ni Anna n'ont visité Damas.
Anna est l'écrivaine.
L'enseignante n'a pas visité Le Pirée.
""",
    "hi": """
अन्ना और बोरिस ने मॉस्को और रोम का दौरा किया।
बोरिस ने मॉस्को का दौरा किया, लेकिन रोम का नहीं।
अन्ना ने निकोलाई और इरीना को आमंत्रित किया।
बोरिस ने योर्गोस को आमंत्रित नहीं किया।
अन्ना अहमद से ज़्यादा लंबी है।
बोरिस उम्र में इरीना से बड़ा नहीं है।
अन्ना बोरिस जितनी तेज़ है।
बोरिस ने पाँच से ज़्यादा शहरों का दौरा किया।
न तो बोरिस ने और न ही अन्ना ने दमिश्क़ का दौरा किया।
अन्ना लेखिका है।
शिक्षिका ने पिरेयस का दौरा नहीं किया।
""",
    "ru": """
Анна и Борис посетили Москву и Рим.
Борис посетил Москву, но не Рим.
Анна пригласила Николая и Ирину.
Борис не пригласил Йоргоса.
Анна выше, чем Ахмед.
Борис не старше, чем Ирина.
Анна такая же быстрая, как Борис.
Борис посетил более пяти городов.
Ни Борис, ни Анна не посетили Дамаск.
Анна — писательница.
Учительница не посетила Пирей.
""",
    "sw": """
Anna na Boris walitembelea Moscow na Roma.
Boris alitembelea Moscow lakini hakutembelea Roma.
Anna aliwaalika Nikolai na Irina.
Boris hakumwalika Giorgos.
Anna ni mrefu kuliko Ahmed.
Boris si mkubwa kwa umri kuliko Irina.
Anna ana kasi sawa na Boris.
Boris alitembelea zaidi ya miji mitano.
Si Boris wala Anna aliyetembelea Dameski.
Anna ndiye mwandishi.
Mwalimu hakutembelea Piraeus.
""",
    "th": """
แอนนาและบอริสได้ไปเยือนมอสโกและโรม
บอริสได้ไปเยือนมอสโกแต่ไม่ได้ไปเยือนโรม
แอนนาได้เชิญนิโคไลและอิรินา
บอริสไม่ได้เชิญยอร์กอส
แอนนาสูงกว่าอะห์เหม็ด
บอริสไม่ได้อายุมากกว่าอิรินา
แอนนาเร็วเท่ากับบอริส
บอริสได้ไปเยือนมากกว่าห้าเมือง
ทั้งบอริสและแอนนาต่างก็ไม่ได้ไปเยือนดามัสกัส
แอนนาคือนักเขียน
ครูไม่ได้ไปเยือนไพรีอัส
""",
    "tr": """
Anna ve Boris Moskova'yı ve Roma'yı ziyaret etti.
Boris Moskova'yı ziyaret etti ama Roma'yı ziyaret etmedi.
Anna Nikolay'ı ve İrina'yı davet etti.
Boris Giorgos'u davet etmedi.
Anna Ahmet'ten daha uzundur.
Boris İrina'dan daha yaşlı değildir.
Anna Boris kadar hızlıdır.
Boris beşten fazla şehri ziyaret etti.
Ne Boris ne de Anna Şam'ı ziyaret etti.
Anna yazardır.
Öğretmen Pire'yi ziyaret etmedi.
""",
    "ur": """
آنا اور بورس نے ماسکو اور روم کا دورہ کیا۔
بورس نے ماسکو کا دورہ کیا، لیکن روم کا نہیں۔
آنا نے نکولائی اور ایرینا کو مدعو کیا۔
بورس نے یورگوس کو مدعو نہیں کیا۔
آنا احمد سے زیادہ لمبی ہے۔
بورس عمر میں ایرینا سے بڑا نہیں ہے۔
آنا بورس جتنی تیز ہے۔
بورس نے پانچ سے زیادہ شہروں کا دورہ کیا۔
نہ تو بورس نے اور نہ ہی آنا نے دمشق کا دورہ کیا۔
آنا مصنفہ ہے۔
استانی نے پیرایوس کا دورہ نہیں کیا۔
""",
    "vi": """
Anna và Boris đã đến thăm Moskva và Roma.
Boris đã đến thăm Moskva nhưng không đến thăm Roma.
Anna đã mời Nikolai và Irina.
Boris không mời Giorgos.
Anna cao hơn Ahmed.
Boris không lớn tuổi hơn Irina.
Anna nhanh bằng Boris.
Boris đã đến thăm nhiều hơn năm thành phố.
Cả Boris và Anna đều không đến thăm Damascus.
Anna là nhà văn.
Giáo viên không đến thăm Piraeus.
""",
    "zh": """
安娜和鲍里斯去过莫斯科和罗马。
鲍里斯去过莫斯科，但没有去过罗马。
安娜邀请了尼古拉和伊琳娜。
鲍里斯没有邀请约尔戈斯。
安娜比阿赫迈德高。
鲍里斯不比伊琳娜年长。
安娜和鲍里斯一样快。
鲍里斯去过的城市多于五个。
鲍里斯和安娜都没有去过大马士革。
安娜是那位作家。
那位老师没有去过比雷埃夫斯。
""",
}


@pytest.mark.parametrize("language", grammar.LANGUAGES)
def test_sentences_of_a_language(language):
    assert [grammar.say(form, language) for form in FORMS] == EXPECTED[language].strip().splitlines()


@pytest.mark.parametrize("language", grammar.LANGUAGES)
def test_no_inflection_rule_fails_on_any_name(language):
    places = names.keys("place")
    for number, person in enumerate(names.keys("person")):
        other, place = names.keys("person")[number - 1], places[number % len(places)]
        for form in (f.Visit((person,), (place,)), f.Invite(person, (other,)), f.Compare(person, other, "tall")):
            said = grammar.say(form, language)
            assert said
            assert said == " ".join(said.split())


def test_turkish_suffixes_follow_the_last_vowel_and_consonant():
    assert [tr.accusative(name) for name in ("Ankara", "İzmir", "Oslo", "Bakü")] == [
        "Ankara'yı", "İzmir'i", "Oslo'yu", "Bakü'yü"
    ]  # fmt: skip
    assert [tr.ablative(name) for name in ("Tarık", "Yunus", "Enver", "Anna")] == [
        "Tarık'tan", "Yunus'tan", "Enver'den", "Anna'dan"
    ]  # fmt: skip


def test_russian_accusative_is_animate_for_men_only():
    assert ru.accusative("Юрий", "m", person=True) == "Юрия"
    assert ru.accusative("Мария", "f", person=True) == "Марию"
    assert ru.accusative("Берлин", "", person=False) == "Берлин"
    assert ru.accusative("Токио", "", person=False) == "Токио"


def test_greek_feminine_article_keeps_nu_before_vowels_and_stops():
    assert el.accusative("Μαδρίτη", "f") == "τη Μαδρίτη"
    assert el.accusative("Πράγα", "f") == "την Πράγα"
    assert el.accusative("Βηρυτός", "f") == "τη Βηρυτό"
    assert el.accusative("Κάρλος", "m") == "τον Κάρλος"


def test_french_elides_before_vowels_but_not_before_a_glide():
    assert [fr.REALISER.than(name) for name in ("Eva", "Ioanna", "Hans")] == ["qu'Eva", "que Ioanna", "que Hans"]


def test_group_agreement():
    three = f.Visit(("Anna", "Boris", "Irina"), ("Paris",))
    assert grammar.say(three, "sw") == "Anna, Boris na Irina walitembelea Paris."
    assert grammar.say(three, "th") == "แอนนา บอริส และอิรินาได้ไปเยือนปารีส"
    assert grammar.say(f.Visit(("Anna", "Irina"), ("Paris",)), "es") == "Anna e Irina visitaron París."
    assert grammar.say(f.Visit(("Boris", "Anna"), ("Paris",)), "ar").startswith("زار ")


def test_unknown_language_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'xx'.*ar, bg, de"):
        grammar.say(FORMS[0], "xx")


HEADER = "\t".join(["kind", "gender", *names.CODES])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["kind\tgender"], "names.tsv:1: the header"),
        ([HEADER, "\t".join(["person", "f"] + ["Anna"] * 14)], "names.tsv:2: 17 filled columns"),
        ([HEADER, "\t".join(["person", "n"] + ["Anna"] * 15)], "names.tsv:2: kind 'person' with gender 'n'"),
        ([HEADER, *["\t".join(["place", "f"] + ["Roma"] * 15)] * 2], "names.tsv:3: 'Roma' .en. is already"),
    ],
)
def test_malformed_names_are_refused_with_their_line(lines, message):
    with pytest.raises(ValueError, match=message):
        names.read_names("\n".join(lines))
