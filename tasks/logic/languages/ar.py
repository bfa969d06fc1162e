"""Arabic: verb first, agreeing in gender with the first subject and singular before it.

Objects of "invite" stand after the preposition, so that no name needs a written case ending.
"""

from .base import Realiser, Subject

COMPARATIVE = {"tall": "أطول", "old": "أكبر سنًا", "fast": "أسرع"}
EQUATIVE = {"tall": "طول", "old": "عمر", "fast": "سرعة"}
CITIES = {2: "مدينتين", 3: "ثلاث مدن", 4: "أربع مدن", 5: "خمس مدن", 6: "ست مدن"}
ROLE = {  # masculine, feminine
    "teacher": ("المعلم", "المعلمة"),
    "singer": ("المغني", "المغنية"),
    "writer": ("الكاتب", "الكاتبة"),
    "painter": ("الرسام", "الرسامة"),
    "journalist": ("الصحفي", "الصحفية"),
    "translator": ("المترجم", "المترجمة"),
    "student": ("الطالب", "الطالبة"),
    "pianist": ("عازف البيانو", "عازفة البيانو"),
}


class Arabic(Realiser):
    code = "ar"
    comma = " و"
    conjunction = " و"

    def the_role(self, role: str, gender: str) -> str:
        return ROLE[role][gender == "f"]

    def visited(self, who: Subject, what: str) -> str:
        return f"{'زارت' if who.first == 'f' else 'زار'} {who.text} {what}"

    def did_not_visit(self, gender: str) -> str:
        return "لم تزر" if gender == "f" else "لم يزر"

    def visit(self, who: Subject, places: tuple[str, ...], positive: bool) -> str:
        if positive:
            return self.visited(who, self.listed(places))
        return f"{self.did_not_visit(who.gender)} {who.text} {self.listed(places)}"

    def neither(self, people: tuple[str, str], place: str) -> str:
        first, second = map(self.name, people)
        return f"{self.did_not_visit(self.gender(people[0]))} لا {first} ولا {second} {self.name(place)}"

    def visit_but(self, who: Subject, visited: str, missed: str) -> str:
        but = "لكنها" if who.gender == "f" else "لكنه"
        denial = f"{but} {self.did_not_visit(who.gender)} {self.name(missed)}"
        return f"{self.visited(who, self.name(visited))} {denial}"

    def visit_only(self, who: Subject, places: tuple[str, ...]) -> str:
        return f"{self.visited(who, self.listed(places))} فقط"

    def visit_count(self, who: Subject, comparison: str, number: int) -> str:
        if comparison == "exactly":
            return f"{self.visited(who, CITIES[number])} بالضبط"
        return self.visited(who, f"{'أكثر' if comparison == 'more' else 'أقل'} من {CITIES[number]}")

    def everyone(self, places: tuple[str, ...]) -> str:
        return f"زار الجميع {self.listed(places)}"

    def nobody(self, place: str) -> str:
        return f"لم يزر أحد {self.name(place)}"

    def invite(self, who: Subject, guests: tuple[str, ...], positive: bool) -> str:
        if positive:
            verb = "وجهت" if who.gender == "f" else "وجه"
        else:
            verb = "لم توجه" if who.gender == "f" else "لم يوجه"
        return f"{verb} {who.text} دعوة {self.join([f'إلى {self.name(guest)}' for guest in guests])}"

    def invite_but(self, who: Subject, guest: str, left_out: str) -> str:
        return f"{self.invite(who, (guest,), True)} وليس إلى {self.name(left_out)}"

    def compare(self, who: Subject, other: str, adjective: str, positive: bool) -> str:
        negation = "" if positive else "ليست " if who.gender == "f" else "ليس "
        return f"{who.text} {negation}{COMPARATIVE[adjective]} من {self.name(other)}"

    def equal(self, who: Subject, other: str, adjective: str) -> str:
        return f"{who.text} بنفس {EQUATIVE[adjective]} {self.name(other)}"

    def is_the(self, who: Subject, role: str, positive: bool) -> str:
        links = ("هو", "هي") if positive else ("ليس", "ليست")
        return f"{who.text} {links[who.gender == 'f']} {self.the_role(role, who.gender)}"


REALISER = Arabic()
