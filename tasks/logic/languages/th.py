"""Thai: no spaces between words, a space between members of a list and between sentences."""

from .base import Realiser, Subject

COMPARATIVE = {"tall": "สูงกว่า", "old": "อายุมากกว่า", "fast": "เร็วกว่า"}
EQUATIVE = {"tall": "สูงเท่ากับ", "old": "อายุเท่ากับ", "fast": "เร็วเท่ากับ"}
NUMBER = {2: "สอง", 3: "สาม", 4: "สี่", 5: "ห้า", 6: "หก"}
ROLE = {
    "teacher": "ครู",
    "singer": "นักร้อง",
    "writer": "นักเขียน",
    "painter": "จิตรกร",
    "journalist": "นักข่าว",
    "translator": "นักแปล",
    "student": "นักเรียน",
    "pianist": "นักเปียโน",
}
WORDS = (
    "ได้", "ไม่ได้", "ไปเยือน", "เชิญ", "และ", "ทั้ง", "ต่าง", "ก็", "แต่", "เฉพาะ", "เท่านั้น",
    "เมือง", "พอดี", "มากกว่า", "น้อยกว่า", "ทุก", "คน", "ไม่มี", "ใคร", "สูง", "อายุ", "เร็ว", "กว่า", "เท่ากับ", "คือ", "ไม่ใช่",
)  # fmt: skip


class Thai(Realiser):
    code = "th"
    comma = " "
    stop = ""
    words = (*WORDS, *NUMBER.values(), *ROLE.values())

    def join(self, parts: list[str]) -> str:
        """`AและB`, `A B และC`."""
        if len(parts) == 1:
            return parts[0]
        return " ".join(parts[:-1]) + (" และ" if len(parts) > 2 else "และ") + parts[-1]

    def the_role(self, role: str, gender: str) -> str:
        return ROLE[role]

    def visit(self, who: Subject, places: tuple[str, ...], positive: bool) -> str:
        return f"{who.text}{'ได้' if positive else 'ไม่ได้'}ไปเยือน{self.listed(places)}"

    def neither(self, people: tuple[str, str], place: str) -> str:
        first, second = map(self.name, people)
        return f"ทั้ง{first}และ{second}ต่างก็ไม่ได้ไปเยือน{self.name(place)}"

    def visit_but(self, who: Subject, visited: str, missed: str) -> str:
        return f"{self.visit(who, (visited,), True)}แต่ไม่ได้ไปเยือน{self.name(missed)}"

    def visit_only(self, who: Subject, places: tuple[str, ...]) -> str:
        return f"{who.text}ได้ไปเยือนเฉพาะ{self.listed(places)}เท่านั้น"

    def visit_count(self, who: Subject, comparison: str, number: int) -> str:
        cities = f"{NUMBER[number]}เมือง"
        amount = {"exactly": f"{cities}พอดี", "more": f"มากกว่า{cities}", "fewer": f"น้อยกว่า{cities}"}[comparison]
        return f"{who.text}ได้ไปเยือน{amount}"

    def everyone(self, places: tuple[str, ...]) -> str:
        return f"ทุกคนได้ไปเยือน{self.listed(places)}"

    def nobody(self, place: str) -> str:
        return f"ไม่มีใครได้ไปเยือน{self.name(place)}"

    def invite(self, who: Subject, guests: tuple[str, ...], positive: bool) -> str:
        return f"{who.text}{'ได้' if positive else 'ไม่ได้'}เชิญ{self.listed(guests)}"

    def invite_but(self, who: Subject, guest: str, left_out: str) -> str:
        return f"{self.invite(who, (guest,), True)}แต่ไม่ได้เชิญ{self.name(left_out)}"

    def compare(self, who: Subject, other: str, adjective: str, positive: bool) -> str:
        return f"{who.text}{'' if positive else 'ไม่ได้'}{COMPARATIVE[adjective]}{self.name(other)}"

    def equal(self, who: Subject, other: str, adjective: str) -> str:
        return f"{who.text}{EQUATIVE[adjective]}{self.name(other)}"

    def is_the(self, who: Subject, role: str, positive: bool) -> str:
        return f"{who.text}{'คือ' if positive else 'ไม่ใช่'}{self.the_role(role, who.gender)}"


REALISER = Thai()
