"""Vietnamese: no inflection; past marker "đã" in affirmative clauses."""

from .base import Realiser, Subject

COMPARATIVE = {"tall": "cao hơn", "old": "lớn tuổi hơn", "fast": "nhanh hơn"}
EQUATIVE = {"tall": "cao bằng", "old": "bằng tuổi", "fast": "nhanh bằng"}
COUNT = {"exactly": "đúng", "more": "nhiều hơn", "fewer": "ít hơn"}
NUMBER = {2: "hai", 3: "ba", 4: "bốn", 5: "năm", 6: "sáu"}
ROLE = {
    "teacher": "giáo viên",
    "singer": "ca sĩ",
    "writer": "nhà văn",
    "painter": "họa sĩ",
    "journalist": "nhà báo",
    "translator": "phiên dịch viên",
    "student": "sinh viên",
    "pianist": "nghệ sĩ dương cầm",
}


class Vietnamese(Realiser):
    code = "vi"
    time_comma = ","
    conjunction = " và "

    def the_role(self, role: str, gender: str) -> str:
        return ROLE[role]

    def visit(self, who: Subject, places: tuple[str, ...], positive: bool) -> str:
        return f"{who.text} {'đã' if positive else 'không'} đến thăm {self.listed(places)}"

    def neither(self, people: tuple[str, str], place: str) -> str:
        first, second = map(self.name, people)
        return f"cả {first} và {second} đều không đến thăm {self.name(place)}"

    def visit_but(self, who: Subject, visited: str, missed: str) -> str:
        return f"{self.visit(who, (visited,), True)} nhưng không đến thăm {self.name(missed)}"

    def visit_only(self, who: Subject, places: tuple[str, ...]) -> str:
        return f"{who.text} chỉ đến thăm {self.listed(places)}"

    def visit_count(self, who: Subject, comparison: str, number: int) -> str:
        return f"{who.text} đã đến thăm {COUNT[comparison]} {NUMBER[number]} thành phố"

    def everyone(self, places: tuple[str, ...]) -> str:
        return f"mọi người đều đã đến thăm {self.listed(places)}"

    def nobody(self, place: str) -> str:
        return f"không ai đến thăm {self.name(place)}"

    def invite(self, who: Subject, guests: tuple[str, ...], positive: bool) -> str:
        return f"{who.text} {'đã' if positive else 'không'} mời {self.listed(guests)}"

    def invite_but(self, who: Subject, guest: str, left_out: str) -> str:
        return f"{self.invite(who, (guest,), True)} nhưng không mời {self.name(left_out)}"

    def compare(self, who: Subject, other: str, adjective: str, positive: bool) -> str:
        return f"{who.text} {'' if positive else 'không '}{COMPARATIVE[adjective]} {self.name(other)}"

    def equal(self, who: Subject, other: str, adjective: str) -> str:
        return f"{who.text} {EQUATIVE[adjective]} {self.name(other)}"

    def is_the(self, who: Subject, role: str, positive: bool) -> str:
        return f"{who.text} {'là' if positive else 'không phải là'} {self.the_role(role, who.gender)}"


REALISER = Vietnamese()
