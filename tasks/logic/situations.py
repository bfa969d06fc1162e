"""Random premises and hypotheses, phenomenon by phenomenon.

A kind of situation belongs to one phenomenon and has a `premise` that draws candidate sentences
and a set of hypothesis shapes.  A shape fixes construction and polarity ("visit-" is a denied
visit), so that drawing the same shapes for every label keeps the label out of the hypothesis.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from . import forms as f
from .facts import NEUTRAL, Facts
from .forms import Form


@dataclass(frozen=True, slots=True)
class Cast:
    """The names of one situation: the first three are on stage, the others come in as new names."""

    people: tuple[str, ...]
    places: tuple[str, ...]
    gender: str
    adjectives: tuple[str, ...]
    roles: tuple[str, ...]

    def some_people(self, rng: random.Random, count: int, stage: int = 3) -> tuple[str, ...]:
        return tuple(_mostly_early(rng, self.people, count, stage))

    def some_places(self, rng: random.Random, count: int, stage: int = 2) -> tuple[str, ...]:
        return tuple(_mostly_early(rng, self.places, count, stage))

    def two_people(self, rng: random.Random, stage: int = 3) -> tuple[str, str]:
        first, second = self.some_people(rng, 2, stage)
        return first, second

    def a_person(self, rng: random.Random, stage: int = 3) -> str:
        return self.some_people(rng, 1, stage)[0]

    def a_place(self, rng: random.Random, stage: int = 2) -> str:
        return self.some_places(rng, 1, stage)[0]

    def a_role(self, rng: random.Random) -> str:
        return self.roles[0] if rng.random() < 0.75 else self.roles[1]


def _mostly_early(rng: random.Random, names: tuple[str, ...], count: int, stage: int) -> list[str]:
    pool = names[: max(stage, count)] if rng.random() < 0.75 else names
    return [rng.choice(pool)] if count == 1 else rng.sample(pool, count)


# Premises: each draws one sentence; a premise is one to three of them that don't contradict or
# repeat one another.


def _coordinated_visit(rng: random.Random, cast: Cast) -> Form:
    if rng.random() < 0.4:
        return f.Neither(cast.two_people(rng, 4), cast.a_place(rng))
    people, places = rng.choice(((2, 1), (3, 1), (2, 2), (1, 2), (1, 3)))
    return f.Visit(cast.some_people(rng, people), cast.some_places(rng, places))


def _coordinated_invitation(rng: random.Random, cast: Cast) -> Form:
    host, *guests = cast.some_people(rng, rng.choice((3, 3, 4)), 4)
    if len(guests) == 2 and rng.random() < 0.4:
        return f.InviteBut(host, *guests)
    return f.Invite(host, tuple(guests))


def _denied_visit(rng: random.Random, cast: Cast) -> Form:
    person = cast.a_person(rng, 2)
    if rng.random() < 0.6:
        return f.VisitBut(person, *cast.some_places(rng, 2))
    return f.Visit((person,), cast.some_places(rng, 1), rng.random() < 0.4)


def _denied_invitation(rng: random.Random, cast: Cast) -> Form:
    if rng.random() < 0.6:
        return f.InviteBut(*cast.some_people(rng, 3))
    host, guest = cast.some_people(rng, 2)
    return f.Invite(host, (guest,), rng.random() < 0.4)


def _quantified(rng: random.Random, cast: Cast) -> Form:
    draw = rng.random()
    if draw < 0.3:
        return f.Everyone(cast.some_places(rng, rng.choice((1, 2)), 3))
    if draw < 0.55:
        return f.Nobody(cast.a_place(rng, 3))
    if draw < 0.8:
        return f.VisitOnly(cast.a_person(rng), cast.some_places(rng, rng.choice((1, 1, 2))))
    return f.Visit(cast.some_people(rng, 1), cast.some_places(rng, 1), rng.random() < 0.5)


def _comparison(rng: random.Random, cast: Cast) -> Form:
    first, second = cast.some_people(rng, 2)
    draw = rng.random()
    if draw < 0.3:
        return f.Equal(first, second, cast.adjectives[0])
    return f.Compare(first, second, cast.adjectives[0], draw < 0.85)


def _count(rng: random.Random, cast: Cast) -> Form:
    person = cast.a_person(rng, 2)
    draw = rng.random()
    if draw < 0.15:
        return f.VisitOnly(person, cast.some_places(rng, 2))
    if draw < 0.3:
        return f.Visit((person,), cast.some_places(rng, 3))
    return f.VisitCount(person, rng.choice(f.COMPARISONS), rng.choice(f.NUMBERS))


def _introduction(rng: random.Random, cast: Cast) -> Form:
    """Who holds the role, so that most texts with a role can be followed back to a name."""
    return f.IsThe(cast.people[0], cast.roles[0]) if rng.random() < 0.8 else _definite(rng, cast)


def _definite(rng: random.Random, cast: Cast) -> Form:
    draw = rng.random()
    role, person, place = (cast.a_role(rng), cast.a_person(rng, 2), cast.a_place(rng))
    if draw < 0.4:
        return f.IsThe(person, role, draw < 0.3)
    if draw < 0.8:
        return f.RoleVisit(role, cast.gender, place, rng.random() < 0.5)
    return f.Visit((person,), (place,), rng.random() < 0.5)


# Hypotheses by shape.


def hypothesis(shape: str, rng: random.Random, cast: Cast) -> Form:
    """A random sentence of this construction and polarity about the cast; KeyError for no shape."""
    name, positive = shape.rstrip("+-"), not shape.endswith("-")
    return _HYPOTHESES[name](rng, cast, positive)


def _both(rng: random.Random, cast: Cast, positive: bool) -> Form:
    people, places = rng.choice(((2, 1), (2, 1), (1, 2)))
    return f.Visit(cast.some_people(rng, people), cast.some_places(rng, places))


def _compared(rng: random.Random, cast: Cast, positive: bool) -> Form:
    adjective = cast.adjectives[0] if rng.random() < 0.85 else cast.adjectives[1]
    return f.Compare(*cast.two_people(rng), adjective, positive)


def _counted(rng: random.Random, cast: Cast, comparison: str) -> Form:
    return f.VisitCount(cast.a_person(rng, 1), comparison, rng.choice(f.NUMBERS))


_HYPOTHESES: dict[str, Callable[[random.Random, Cast, bool], Form]] = {
    "visit": lambda rng, cast, yes: f.Visit(cast.some_people(rng, 1), cast.some_places(rng, 1), yes),
    "both": _both,
    "neither": lambda rng, cast, yes: f.Neither(cast.two_people(rng), cast.a_place(rng)),
    "invite": lambda rng, cast, yes: f.Invite(cast.a_person(rng), cast.some_people(rng, 1), yes),
    "everyone": lambda rng, cast, yes: f.Everyone(cast.some_places(rng, 1)),
    "nobody": lambda rng, cast, yes: f.Nobody(cast.a_place(rng)),
    "compare": _compared,
    "equal": lambda rng, cast, yes: f.Equal(*cast.two_people(rng), cast.adjectives[0]),
    "exactly": lambda rng, cast, yes: _counted(rng, cast, "exactly"),
    "more": lambda rng, cast, yes: _counted(rng, cast, "more"),
    "fewer": lambda rng, cast, yes: _counted(rng, cast, "fewer"),
    "is": lambda rng, cast, yes: f.IsThe(cast.a_person(rng, 2), cast.a_role(rng), yes),
    "role": lambda rng, cast, yes: f.RoleVisit(
        cast.a_role(rng), cast.gender, cast.a_place(rng), yes
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of situation: what its premise sentences are and which hypotheses are asked.

    `copies`: the shapes that may repeat a premise sentence word for word, because little else
    entails them.  `lengths`: the possible numbers of premise sentences.
    `opening`: draws the first premise sentence, where it is special.
    `own_people`, `own_places`: whether its names come from the names reserved for the split,
    because there are too few such sentences to share them out one by one.
    """

    phenomenon: str
    premise: Callable[[random.Random, Cast], Form]
    shapes: tuple[str, ...]
    lengths: tuple[int, ...]
    opening: Callable[[random.Random, Cast], Form] | None = None
    copies: tuple[str, ...] = ()
    own_people: bool = False
    own_places: bool = False


KINDS = (
    Kind("coordination", _coordinated_visit, ("visit+", "visit-", "both+", "neither-"), (1, 1, 2)),
    Kind("coordination", _coordinated_invitation, ("invite+", "invite-"), (1,)),
    Kind("negation", _denied_visit, ("visit+", "visit-"), (1, 1, 2)),
    Kind("negation", _denied_invitation, ("invite+", "invite-"), (1, 1, 2)),
    Kind(
        "quantifier",
        _quantified,
        ("visit+", "visit-", "everyone+", "nobody-"),
        (1, 1, 2),
        copies=("nobody-",),
        own_places=True,
    ),
    Kind("comparative", _comparison, ("compare+", "compare-", "equal+"), (1, 1, 2)),
    Kind("counting", _count, ("exactly+", "more+", "fewer+"), (1,), copies=("exactly+",), own_people=True),
    Kind(
        "definite",
        _definite,
        ("visit+", "visit-", "role+", "role-", "is+", "is-"),
        (2, 2, 3),
        _introduction,
        copies=("is+",),
        own_people=True,
        own_places=True,
    ),
)
PHENOMENA = tuple(dict.fromkeys(kind.phenomenon for kind in KINDS))


def draw_cast(
    rng: random.Random, people: dict[str, tuple[str, ...]], places: tuple[str, ...], one_gender: bool
) -> Cast:
    """Five people and four places; `people` by gender.  With `one_gender` all people have it.

    Roles have a gender in many languages, so a situation with roles keeps to one.
    """
    gender = rng.choice(("f", "m"))
    pool = people[gender] if one_gender else people["f"] + people["m"]
    adjectives, roles = list(f.ADJECTIVES), list(f.ROLES)
    rng.shuffle(adjectives)
    rng.shuffle(roles)
    return Cast(tuple(rng.sample(pool, 5)), tuple(rng.sample(places, 4)), gender, tuple(adjectives), tuple(roles))


def draw_premise(kind: Kind, rng: random.Random, cast: Cast, length: int | None = None) -> tuple[Form, ...]:
    """So many sentences (or a number that the kind allows), none of which follows from or contradicts those before."""
    facts = Facts()
    premise: list[Form] = []
    length = length or rng.choice(kind.lengths)
    for _ in range(20):
        draw = kind.premise if premise else kind.opening or kind.premise
        form = draw(rng, cast)
        if facts.label(form) == NEUTRAL:
            facts.add(form)
            premise.append(form)
        if len(premise) == length:
            break
    return tuple(premise)
