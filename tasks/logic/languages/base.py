"""What the realisers share: the walk over the forms, coordination and sentence punctuation.

A language is a subclass with one method per clause.  Clauses get their subject as a `Subject`
and their objects as keys of names, so that each language chooses case and order itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .. import forms as f
from .. import names
from ..forms import Form


@dataclass(frozen=True, slots=True)
class Subject:
    """A finished subject phrase with its agreement: gender f or m (of a group: m if mixed), and number.

    `first` is the gender of the first conjunct, for verbs that agree with the nearest noun.
    """

    text: str
    gender: str
    plural: bool = False
    first: str = ""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a sentence and its tag."""

    text: str
    tag: str = "O"


class Realiser:
    """Turns forms into sentences of one language."""

    code: str
    comma = ", "  # between the members of an enumeration, but for the last
    conjunction = " and "
    stop = "."
    gap = " "  # between sentences
    words: tuple[str, ...] = ()  # all but names, where none are written apart
    time_first = False  # whether a time stands before its clause and nowhere else
    time_comma = ""  # between a time and the clause behind it

    def text(self, told: tuple[Form, ...]) -> str:
        """Several sentences as one text."""
        return self.gap.join(self.say(form) for form in told)

    def say(self, form: Form) -> str:
        """One sentence with its first letter and its full stop; raises TypeError for no form."""
        return self.begun(self.clause(form)) + self.stop

    def begun(self, clause: str) -> str:
        """A text as it begins a sentence."""
        return clause[0].upper() + clause[1:]

    def clause(self, form: Form) -> str:
        """The bare clause of a form; raises TypeError for an object that is no form."""
        match form:
            case f.Visit(people, places, positive):
                return self.visit(self.subject(*people), places, positive)
            case f.RoleVisit(role, gender, place, positive):
                return self.visit(self.role_subject(role, gender), (place,), positive)
            case f.Neither(people, place):
                return self.neither(people, place)
            case f.VisitBut(person, visited, missed):
                return self.visit_but(self.subject(person), visited, missed)
            case f.VisitOnly(person, places):
                return self.visit_only(self.subject(person), places)
            case f.VisitCount(person, comparison, number):
                return self.visit_count(self.subject(person), comparison, number)
            case f.Everyone(places):
                return self.everyone(places)
            case f.Nobody(place):
                return self.nobody(place)
            case f.Invite(host, guests, positive):
                return self.invite(self.subject(host), guests, positive)
            case f.InviteBut(host, guest, left_out):
                return self.invite_but(self.subject(host), guest, left_out)
            case f.Compare(first, second, adjective, positive):
                return self.compare(self.subject(first), second, adjective, positive)
            case f.Equal(first, second, adjective):
                return self.equal(self.subject(first), second, adjective)
            case f.IsThe(person, role, positive):
                return self.is_the(self.subject(person), role, positive)
        raise TypeError(f"no form of the logic grammar: {form!r}")

    # Names

    def name(self, key: str) -> str:
        """The spelling of a person or place, uninflected."""
        return names.all_names()[key].spelling[self.code]

    def spellings(self, key: str) -> tuple[str, ...]:
        """Every form that a name takes in a sentence."""
        return (self.name(key),)

    def with_family(self, key: str, spelled: str, family: str) -> tuple[str, ...]:
        """The words of a person's name in one of its `spellings`, with an indeclinable family name behind it."""
        return spelled, family

    def gender(self, key: str) -> str:
        return names.all_names()[key].gender

    def listed(self, keys: tuple[str, ...]) -> str:
        """Several names, uninflected, as one phrase."""
        return self.join([self.name(key) for key in keys])

    def subject(self, *people: str) -> Subject:
        """People as subject; a language whose names inflect or take articles overrides `nominative`."""
        genders = [self.gender(person) for person in people]
        together = "m" if "m" in genders else "f"
        return Subject(self.join([self.nominative(p) for p in people]), together, len(people) > 1, genders[0])

    def nominative(self, person: str) -> str:
        return self.name(person)

    def role_subject(self, role: str, gender: str) -> Subject:
        return Subject(self.the_role(role, gender), gender, False, gender)

    def join(self, parts: list[str]) -> str:
        """`A`, `A and B`, `A, B and C`."""
        if len(parts) == 1:
            return parts[0]
        return self.comma.join(parts[:-1]) + self.conjunction + parts[-1]

    # Times

    def with_time(self, clause: Sequence[Word], time: Sequence[Word], first: bool) -> list[Word]:
        """A clause's words and a time's, which stands before it or, where the language lets it, behind."""
        if not first and not self.time_first:
            return [*clause, *time]
        return [*time, *([Word(self.time_comma)] if self.time_comma else []), *clause]

    # Clauses, one set per language

    def the_role(self, role: str, gender: str) -> str:
        """The role as a definite noun phrase in subject position."""
        raise NotImplementedError

    def visit(self, who: Subject, places: tuple[str, ...], positive: bool) -> str:
        raise NotImplementedError

    def neither(self, people: tuple[str, str], place: str) -> str:
        raise NotImplementedError

    def visit_but(self, who: Subject, visited: str, missed: str) -> str:
        raise NotImplementedError

    def visit_only(self, who: Subject, places: tuple[str, ...]) -> str:
        raise NotImplementedError

    def visit_count(self, who: Subject, comparison: str, number: int) -> str:
        raise NotImplementedError

    def everyone(self, places: tuple[str, ...]) -> str:
        raise NotImplementedError

    def nobody(self, place: str) -> str:
        raise NotImplementedError

    def invite(self, who: Subject, guests: tuple[str, ...], positive: bool) -> str:
        raise NotImplementedError

    def invite_but(self, who: Subject, guest: str, left_out: str) -> str:
        raise NotImplementedError

    def compare(self, who: Subject, other: str, adjective: str, positive: bool) -> str:
        raise NotImplementedError

    def equal(self, who: Subject, other: str, adjective: str) -> str:
        raise NotImplementedError

    def is_the(self, who: Subject, role: str, positive: bool) -> str:
        raise NotImplementedError
