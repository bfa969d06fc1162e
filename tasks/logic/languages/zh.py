"""Chinese (simplified): no spaces, "guo" for what somebody has done."""

from .base import Realiser, Subject

ADJECTIVE = {"tall": "高", "old": "年长", "fast": "快"}
COUNT = {"exactly": "正好有", "more": "多于", "fewer": "少于"}
NUMBER = {2: "两", 3: "三", 4: "四", 5: "五", 6: "六"}
ROLE = {
    "teacher": "老师",
    "singer": "歌手",
    "writer": "作家",
    "painter": "画家",
    "journalist": "记者",
    "translator": "翻译",
    "student": "学生",
    "pianist": "钢琴家",
}
WORDS = (
    "去过", "邀请", "了", "没有", "不", "所有", "人", "都", "但", "只", "的", "和",
    "城市", "正好", "有", "多于", "少于", "个", "比", "一样", "是", "不是", "那", "位",
)  # fmt: skip


class Chinese(Realiser):
    code = "zh"
    time_first = True
    comma = "、"
    conjunction = "和"
    stop = "。"
    gap = ""
    words = (*WORDS, *ADJECTIVE.values(), *NUMBER.values(), *ROLE.values())

    def with_family(self, key: str, spelled: str, family: str) -> tuple[str, ...]:
        return spelled, "·", family

    def the_role(self, role: str, gender: str) -> str:
        return f"那位{ROLE[role]}"

    def visit(self, who: Subject, places: tuple[str, ...], positive: bool) -> str:
        return f"{who.text}{'' if positive else '没有'}去过{self.listed(places)}"

    def neither(self, people: tuple[str, str], place: str) -> str:
        first, second = map(self.name, people)
        return f"{first}和{second}都没有去过{self.name(place)}"

    def visit_but(self, who: Subject, visited: str, missed: str) -> str:
        return f"{self.visit(who, (visited,), True)}，但没有去过{self.name(missed)}"

    def visit_only(self, who: Subject, places: tuple[str, ...]) -> str:
        return f"{who.text}只去过{self.listed(places)}"

    def visit_count(self, who: Subject, comparison: str, number: int) -> str:
        return f"{who.text}去过的城市{COUNT[comparison]}{NUMBER[number]}个"

    def everyone(self, places: tuple[str, ...]) -> str:
        return f"所有人都去过{self.listed(places)}"

    def nobody(self, place: str) -> str:
        return f"没有人去过{self.name(place)}"

    def invite(self, who: Subject, guests: tuple[str, ...], positive: bool) -> str:
        return f"{who.text}{'邀请了' if positive else '没有邀请'}{self.listed(guests)}"

    def invite_but(self, who: Subject, guest: str, left_out: str) -> str:
        return f"{self.invite(who, (guest,), True)}，但没有邀请{self.name(left_out)}"

    def compare(self, who: Subject, other: str, adjective: str, positive: bool) -> str:
        return f"{who.text}{'' if positive else '不'}比{self.name(other)}{ADJECTIVE[adjective]}"

    def equal(self, who: Subject, other: str, adjective: str) -> str:
        return f"{who.text}和{self.name(other)}一样{ADJECTIVE[adjective]}"

    def is_the(self, who: Subject, role: str, positive: bool) -> str:
        return f"{who.text}{'是' if positive else '不是'}{self.the_role(role, who.gender)}"


REALISER = Chinese()
