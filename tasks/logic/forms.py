"""Abstract sentences of the logic grammar: what is said, in no language yet.

A form holds names by their English spelling (the key of `names.tsv`), roles by the words of
`ROLES` and adjectives by the words of `ADJECTIVES`.  Forms are frozen and hashable, so that a set
of forms is a set of sentences.  Premises and hypotheses are tuples of forms.

Negation has only narrow readings: a negated `Visit` or `Invite` has one subject and one object,
because "Anna and Ben did not visit Paris" means different things in different languages;
`Neither` says the strong thing without doubt.
"""

from dataclasses import dataclass
from typing import TypeAlias

ROLES = ("teacher", "singer", "writer", "painter", "journalist", "translator", "student", "pianist")
ADJECTIVES = ("tall", "old", "fast")
COMPARISONS = ("exactly", "more", "fewer")
NUMBERS = (2, 3, 4, 5, 6)


@dataclass(frozen=True, slots=True)
class Visit:
    """Every one of `people` visited every one of `places` (or one person did not visit one place)."""

    people: tuple[str, ...]
    places: tuple[str, ...]
    positive: bool = True

    def __post_init__(self) -> None:
        if not self.positive and len(self.people) * len(self.places) != 1:
            raise ValueError(f"a negated Visit has one person and one place, not {self.people} and {self.places}")


@dataclass(frozen=True, slots=True)
class Neither:
    """Neither of two people visited the place."""

    people: tuple[str, str]
    place: str


@dataclass(frozen=True, slots=True)
class VisitBut:
    """The person visited one place but not the other."""

    person: str
    visited: str
    missed: str


@dataclass(frozen=True, slots=True)
class VisitOnly:
    """The person visited these places and no other city."""

    person: str
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VisitCount:
    """The person visited exactly / more than / fewer than `number` cities."""

    person: str
    comparison: str
    number: int


@dataclass(frozen=True, slots=True)
class Everyone:
    """Everyone visited every one of the places."""

    places: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Nobody:
    """Nobody visited the place."""

    place: str


@dataclass(frozen=True, slots=True)
class Invite:
    """The host invited every guest (or did not invite one guest)."""

    host: str
    guests: tuple[str, ...]
    positive: bool = True

    def __post_init__(self) -> None:
        if not self.positive and len(self.guests) != 1:
            raise ValueError(f"a negated Invite has one guest, not {self.guests}")


@dataclass(frozen=True, slots=True)
class InviteBut:
    """The host invited one person but not the other."""

    host: str
    guest: str
    left_out: str


@dataclass(frozen=True, slots=True)
class Compare:
    """The first person is (not) taller / older / faster than the second."""

    first: str
    second: str
    adjective: str
    positive: bool = True


@dataclass(frozen=True, slots=True)
class Equal:
    """The first person is as tall / old / fast as the second, neither more nor less."""

    first: str
    second: str
    adjective: str


@dataclass(frozen=True, slots=True)
class IsThe:
    """The person is (not) the one holder of the role."""

    person: str
    role: str
    positive: bool = True


@dataclass(frozen=True, slots=True)
class RoleVisit:
    """The holder of the role visited (did not visit) the place; `gender` (f, m) is the holder's."""

    role: str
    gender: str
    place: str
    positive: bool = True


Form: TypeAlias = (
    Visit | Neither | VisitBut | VisitOnly | VisitCount | Everyone | Nobody
    | Invite | InviteBut | Compare | Equal | IsThe | RoleVisit
)  # fmt: skip


def people_in(form: Form) -> tuple[str, ...]:
    """The persons named in a form, in order."""
    match form:
        case Visit() | Neither():
            return tuple(form.people)
        case VisitBut() | VisitOnly() | VisitCount() | IsThe():
            return (form.person,)
        case Invite():
            return (form.host, *form.guests)
        case InviteBut():
            return (form.host, form.guest, form.left_out)
        case Compare() | Equal():
            return (form.first, form.second)
    return ()


def places_in(form: Form) -> tuple[str, ...]:
    """The places named in a form, in order."""
    match form:
        case Visit() | VisitOnly() | Everyone():
            return tuple(form.places)
        case Neither() | Nobody() | RoleVisit():
            return (form.place,)
        case VisitBut():
            return (form.visited, form.missed)
    return ()
