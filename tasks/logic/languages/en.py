"""English."""

from .base import Realiser, Subject

COMPARATIVE = {"tall": "taller", "old": "older", "fast": "faster"}
COUNT = {"exactly": "exactly", "more": "more than", "fewer": "fewer than"}
NUMBER = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


class English(Realiser):
    code = "en"
    time_comma = ","

    def the_role(self, role: str, gender: str) -> str:
        return f"the {role}"

    def visit(self, who: Subject, places: tuple[str, ...], positive: bool) -> str:
        return f"{who.text} {'visited' if positive else 'did not visit'} {self.listed(places)}"

    def neither(self, people: tuple[str, str], place: str) -> str:
        first, second = map(self.name, people)
        return f"neither {first} nor {second} visited {self.name(place)}"

    def visit_but(self, who: Subject, visited: str, missed: str) -> str:
        return f"{who.text} visited {self.name(visited)} but not {self.name(missed)}"

    def visit_only(self, who: Subject, places: tuple[str, ...]) -> str:
        return f"{who.text} visited only {self.listed(places)}"

    def visit_count(self, who: Subject, comparison: str, number: int) -> str:
        return f"{who.text} visited {COUNT[comparison]} {NUMBER[number]} cities"

    def everyone(self, places: tuple[str, ...]) -> str:
        return f"everyone visited {self.listed(places)}"

    def nobody(self, place: str) -> str:
        return f"nobody visited {self.name(place)}"

    def invite(self, who: Subject, guests: tuple[str, ...], positive: bool) -> str:
        return f"{who.text} {'invited' if positive else 'did not invite'} {self.listed(guests)}"

    def invite_but(self, who: Subject, guest: str, left_out: str) -> str:
        return f"{who.text} invited {self.name(guest)} but not {self.name(left_out)}"

    def compare(self, who: Subject, other: str, adjective: str, positive: bool) -> str:
        return f"{who.text} is {'' if positive else 'not '}{COMPARATIVE[adjective]} than {self.name(other)}"

    def equal(self, who: Subject, other: str, adjective: str) -> str:
        return f"{who.text} is as {adjective} as {self.name(other)}"

    def is_the(self, who: Subject, role: str, positive: bool) -> str:
        return f"{who.text} is {'' if positive else 'not '}the {role}"


REALISER = English()
