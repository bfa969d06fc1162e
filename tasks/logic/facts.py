"""What a text settles: three-valued facts collected from forms.

The world is open.  Different names are different persons and different cities; there are more
persons and more cities than those named; "everyone" and "nobody" speak of all persons, the named
ones included; each role has exactly one holder, and one person may hold several roles.  What the
text does not settle is unknown, and a sentence with unknown truth is neutral.
"""

from collections.abc import Iterable

from . import forms as f
from .forms import Form

ENTAILMENT, NEUTRAL, CONTRADICTION = 0, 1, 2
UNBOUNDED = 10**6


class Facts:
    """Facts told by a text, added form by form; `truth` answers True, False or None (unknown)."""

    def __init__(self, told: tuple[Form, ...] = ()) -> None:
        self.visits: dict[str, dict[str, bool]] = {}  # person, or "the <role>" with no known holder
        self.everyone: set[str] = set()
        self.nobody: set[str] = set()
        self.only: dict[str, set[str]] = {}
        self.bounds: dict[str, tuple[int, int]] = {}
        self.invited: dict[tuple[str, str], bool] = {}
        self.holder: dict[str, str] = {}
        self.not_holder: set[tuple[str, str]] = set()
        self.order: dict[tuple[str, str, str], bool] = {}  # adjective, a, b: a >= b, True if a > b
        for form in told:
            self.add(form)

    def label(self, form: Form) -> int:
        """0 entailment, 1 neutral, 2 contradiction of one sentence."""
        return {True: ENTAILMENT, None: NEUTRAL, False: CONTRADICTION}[self.truth(form)]

    # Visits of one individual

    def individual(self, role: str) -> str:
        return self.holder.get(role, f"the {role}")

    def visited(self, who: str, place: str) -> bool | None:
        if place in self.everyone or place in self.nobody:
            return place in self.everyone
        if who in self.only:
            return place in self.only[who]
        told = self.visits.get(who, {}).get(place)
        if told is None and not self.fits(who, (place,)):
            return False
        return told

    def known(self, who: str) -> set[str]:
        """The places that `who` certainly visited."""
        told = {place for place, true in self.visits.get(who, {}).items() if true}
        return told | self.everyone | self.only.get(who, set())

    def span(self, who: str) -> tuple[int, int]:
        """The least and greatest number of cities that `who` can have visited."""
        if who in self.only:
            return len(self.only[who]), len(self.only[who])
        low, high = self.bounds.get(who, (0, UNBOUNDED))
        return max(low, len(self.known(who))), high

    def fits(self, who: str, places: tuple[str, ...]) -> bool:
        """Whether `who` can have visited all of these and what is known, by the number of cities."""
        if who not in self.bounds and who not in self.only:
            return True
        return len(self.known(who) | set(places)) <= self.span(who)[1]

    def individuals(self) -> set[str]:
        return {*self.visits, *self.only, *self.bounds}

    # Truth

    def truth(self, form: Form) -> bool | None:
        """True, False or None when the facts don't settle the sentence."""
        match form:
            case f.Visit(people, places, positive):
                all_true = _all(self.visited(who, place) for who in people for place in places)
                if all_true is None and not all(self.fits(who, places) for who in people):
                    all_true = False
                return all_true if positive else _not(all_true)
            case f.Neither(people, place):
                return _all(_not(self.visited(who, place)) for who in people)
            case f.VisitBut(who, visited, missed):
                return _all((self.visited(who, visited), _not(self.visited(who, missed))))
            case f.VisitOnly(who, places):
                return self._truth_of_only(who, set(places))
            case f.VisitCount(who, comparison, number):
                return _compare_span(self.span(who), comparison, number)
            case f.Everyone(places):
                return self._truth_of_everyone(places)
            case f.Nobody(place):
                if place in self.everyone or any(self.visited(who, place) for who in self.individuals()):
                    return False
                return True if place in self.nobody else None
            case f.Invite(host, guests, positive):
                all_true = _all(self.invited.get((host, guest)) for guest in guests)
                return all_true if positive else _not(all_true)
            case f.InviteBut(host, guest, left_out):
                return _all((self.invited.get((host, guest)), _not(self.invited.get((host, left_out)))))
            case f.Compare(first, second, adjective, positive):
                taller = self._taller(adjective, first, second)
                return taller if positive else _not(taller)
            case f.Equal(first, second, adjective):
                up, down = self._at_least(adjective, first, second), self._at_least(adjective, second, first)
                if up or down:
                    return False
                return True if up is False and down is False else None
            case f.IsThe(person, role, positive):
                holds = self._truth_of_role(person, role)
                return holds if positive else _not(holds)
            case f.RoleVisit(role, _, place, positive):
                came = self.visited(self.individual(role), place)
                return came if positive else _not(came)
        raise TypeError(f"no form of the logic grammar: {form!r}")

    def _truth_of_only(self, who: str, places: set[str]) -> bool | None:
        low, high = self.span(who)
        known = self.known(who)
        if not known <= places or not low <= len(places) <= high:
            return False
        if any(self.visited(who, place) is False for place in places):
            return False
        return True if low == high and known == places else None

    def _truth_of_everyone(self, places: tuple[str, ...]) -> bool | None:
        if set(places) <= self.everyone:
            return True
        if set(places) & self.nobody:
            return False
        for who in self.individuals():
            if not self.fits(who, places) or any(self.visited(who, place) is False for place in places):
                return False
        return None

    def _truth_of_role(self, person: str, role: str) -> bool | None:
        if role in self.holder:
            return self.holder[role] == person
        unknown = self.individual(role)
        clash = any(
            self.visited(person, place) is not None and self.visited(person, place) != self.visited(unknown, place)
            for place in self.visits.get(unknown, {})
        )
        if (person, role) in self.not_holder or clash or not self.fits(person, tuple(self.known(unknown))):
            return False
        return None

    def _at_least(self, adjective: str, first: str, second: str) -> bool | None:
        """True: first > second.  False: only first >= second follows.  None: neither follows."""
        reached: dict[str, bool] = {first: False}
        queue = [first]
        while queue:
            here = queue.pop()
            for (kind, a, b), strict in self.order.items():
                if kind == adjective and a == here and reached.get(b) is not True:
                    strict = strict or reached[here]
                    if b not in reached or strict:
                        reached[b] = strict
                        queue.append(b)
        return reached.get(second)

    def _taller(self, adjective: str, first: str, second: str) -> bool | None:
        if self._at_least(adjective, first, second):
            return True
        return None if self._at_least(adjective, second, first) is None else False

    # Telling

    def add(self, form: Form) -> None:
        """Takes the form for true; it must not contradict what was told before."""
        match form:
            case f.Visit(people, places, positive):
                for who in people:
                    for place in places:
                        self._visit(who, place, positive)
            case f.Neither(people, place):
                for who in people:
                    self._visit(who, place, False)
            case f.VisitBut(who, visited, missed):
                self._visit(who, visited, True)
                self._visit(who, missed, False)
            case f.VisitOnly(who, places):
                self.only[who] = set(places)
            case f.VisitCount(who, comparison, number):
                low, high = self.bounds.get(who, (0, UNBOUNDED))
                low = max(low, {"exactly": number, "more": number + 1, "fewer": 0}[comparison])
                high = min(high, {"exactly": number, "more": UNBOUNDED, "fewer": number - 1}[comparison])
                self.bounds[who] = (low, high)
            case f.Everyone(places):
                self.everyone.update(places)
            case f.Nobody(place):
                self.nobody.add(place)
            case f.Invite(host, guests, positive):
                self.invited.update({(host, guest): positive for guest in guests})
            case f.InviteBut(host, guest, left_out):
                self.invited.update({(host, guest): True, (host, left_out): False})
            case f.Compare(first, second, adjective, True):
                self.order[adjective, first, second] = True
            case f.Compare(first, second, adjective, False):
                self.order.setdefault((adjective, second, first), False)
            case f.Equal(first, second, adjective):
                self.order.setdefault((adjective, first, second), False)
                self.order.setdefault((adjective, second, first), False)
            case f.IsThe(person, role, True):
                told = self.visits.pop(self.individual(role), {}) if role not in self.holder else {}
                self.holder[role] = person
                self.visits.setdefault(person, {}).update(told)
            case f.IsThe(person, role, False):
                self.not_holder.add((person, role))
            case f.RoleVisit(role, _, place, positive):
                self._visit(self.individual(role), place, positive)
            case _:
                raise TypeError(f"no form of the logic grammar: {form!r}")

    def _visit(self, who: str, place: str, true: bool) -> None:
        self.visits.setdefault(who, {})[place] = true


def _not(truth: bool | None) -> bool | None:
    return None if truth is None else not truth


def _all(truths: Iterable[bool | None]) -> bool | None:
    """Three-valued conjunction of independent facts."""
    values = list(truths)
    if False in values:
        return False
    return None if None in values else True


def _compare_span(span: tuple[int, int], comparison: str, number: int) -> bool | None:
    low, high = span
    true_from, true_to = {"exactly": (number, number), "more": (number + 1, UNBOUNDED), "fewer": (0, number - 1)}[
        comparison
    ]
    if high < true_from or low > true_to:
        return False
    return True if true_from <= low and high <= true_to else None
