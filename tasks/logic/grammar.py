"""The logic task's rows, parallel sentences and pretraining stories, in no language and in all.

Labels are those of XNLI: 0 entailment, 1 neutral, 2 contradiction.  The world is open (see
`facts`): what a premise doesn't settle is neutral.  Splits share names and constructions, never a
sentence: sentences with a small space (counts, quantifiers, roles) use names reserved for the
split, and all others are dealt out, test first.  Everything is made from a seed in the code;
what is dealt ships as a file, which `rows` reads.
"""

import hashlib
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import combinations

from . import names
from .facts import CONTRADICTION, ENTAILMENT, NEUTRAL, Facts
from .forms import Form, Invite, RoleVisit, people_in, places_in
from .languages import LANGUAGES, load
from .rows import PARALLEL, PREMISES, Item, items, sentences
from .situations import KINDS, PHENOMENA, Cast, Kind, draw_cast, draw_premise, hypothesis

LABELS = (ENTAILMENT, NEUTRAL, CONTRADICTION)
RECOMBINED = 0.55  # of the neutral rows, have no name but the premise's: a new name must not betray the label

# Later splits avoid every sentence of the earlier ones.
_ORDER = ("test", "validation", "train", "parallel")
# Of each twenty names, how many are reserved for a split's small-space sentences.
_SHARES = {"test": 5, "validation": 4, "train": 7, "parallel": 4}

__all__ = [
    "LABELS",
    "LANGUAGES",
    "PARALLEL",
    "PHENOMENA",
    "PREMISES",
    "Item",
    "deal",
    "deal_parallel",
    "items",
    "questions",
    "render",
    "say",
    "sentences",
    "stories",
]


def say(form: Form, language: str) -> str:
    """One sentence in one language; raises ValueError for a language that the task lacks."""
    return load(language).say(form)


def render(item: Item, language: str) -> tuple[str, str]:
    """Premise and hypothesis in one language; raises ValueError for a language that the task lacks."""
    realiser = load(language)
    return realiser.text(item.premise), realiser.text(item.hypothesis)


@lru_cache(maxsize=len(PREMISES))
def deal(split: str) -> tuple[Item, ...]:
    """The rows that `items` reads, made from the seed."""
    rng = _rng(split)
    taken = _sentences_before(split)
    counts = [len(range(turn, PREMISES[split], len(PHENOMENA))) for turn in range(len(PHENOMENA))]
    columns = [
        _phenomenon_items(rng, split, phenomenon, count, taken)
        for phenomenon, count in zip(PHENOMENA, counts, strict=True)
    ]
    rows: list[Item] = []
    for number in range(PREMISES[split]):
        phenomenon = PHENOMENA[number % len(PHENOMENA)]
        premise, answers = columns[number % len(PHENOMENA)][number // len(PHENOMENA)]
        order = list(LABELS)
        rng.shuffle(order)
        premise_id = f"{split}-{number:05d}"
        for position, label in enumerate(order):
            rows.append(Item(f"{premise_id}-{position}", premise_id, phenomenon, premise, (answers[label],), label))
    return tuple(rows)


def _phenomenon_items(
    rng: random.Random, split: str, phenomenon: str, count: int, taken: frozenset[Form]
) -> list[tuple[tuple[Form, ...], dict[int, Form]]]:
    """`count` different premises with a hypothesis per label; every label gets the same shapes."""
    kinds = [kind for kind in KINDS if kind.phenomenon == phenomenon]
    made: list[tuple[tuple[Form, ...], dict[int, Form]]] = []
    seen: set[tuple[Form, ...]] = set()
    for turn, kind in enumerate(kinds):
        share = len(range(turn, count, len(kinds)))
        shapes = {label: [kind.shapes[i % len(kind.shapes)] for i in range(share)] for label in LABELS}
        for label in LABELS:
            rng.shuffle(shapes[label])
        for number in range(share):
            wanted = {label: shapes[label][number] for label in LABELS}
            premise, answers = _situation(rng, split, kind, wanted, taken, seen)
            seen.add(premise)
            made.append((premise, answers))
    rng.shuffle(made)
    return made


def _situation(
    rng: random.Random,
    split: str,
    kind: Kind,
    wanted: dict[int, str],
    taken: frozenset[Form],
    seen: set[tuple[Form, ...]],
) -> tuple[tuple[Form, ...], dict[int, Form]]:
    """A new premise with a hypothesis of the wanted shape for each label; no sentence is in `taken`."""
    length = rng.choice(kind.lengths)
    for attempt in range(2000):
        if attempt > 200:  # hypotheses that no premise of this length could settle
            length = rng.choice(kind.lengths)
        cast = _cast(rng, split, kind)
        premise = draw_premise(kind, rng, cast, length)
        if premise in seen or taken.intersection(premise):
            continue
        facts = Facts(premise)
        answers: dict[int, Form] = {}
        on_stage = _names_in(*premise)
        for label in (ENTAILMENT, CONTRADICTION, NEUTRAL):  # the scarcest first
            shape = wanted[label]
            recombine = label == NEUTRAL and rng.random() < RECOMBINED
            for _ in range(20):
                form = hypothesis(shape, rng, cast)
                if form in taken or not _may_ask(form, shape, premise, kind):
                    continue
                if recombine and not _names_in(form) <= on_stage:
                    continue
                if facts.label(form) == label:
                    answers[label] = form
                    break
            else:
                break
        if len(answers) == len(wanted):
            return premise, answers
    raise RuntimeError(f"no {kind.phenomenon} situation with hypotheses {wanted} for split {split} in 2000 draws")


def _says_something(form: Form) -> bool:
    """Nobody invites himself."""
    return not (isinstance(form, Invite) and form.host in form.guests)


def _names_in(*told: Form) -> set[str]:
    return {name for form in told for name in (*people_in(form), *places_in(form))}


def deal_parallel() -> tuple[Form, ...]:
    """The sentences that `sentences` reads, made from the seed."""
    rng, taken = _rng("parallel"), _sentences_before("parallel")
    found: dict[Form, Form] = {}  # by the form without its gender, which many languages don't show
    while len(found) < PARALLEL:
        kind = rng.choice(KINDS)
        cast = _cast(rng, "parallel", kind)
        drawn = (*draw_premise(kind, rng, cast), hypothesis(rng.choice(kind.shapes), rng, cast))
        for form in drawn:
            if form not in taken and _says_something(form):
                found.setdefault(replace(form, gender="") if isinstance(form, RoleVisit) else form, form)
    return tuple(found.values())[:PARALLEL]


def stories(
    rng: random.Random, exclude: frozenset[tuple[Form, ...]] | None = None, lengths: tuple[int, ...] = (2, 3, 3, 4)
) -> Iterator[tuple[Form, ...]]:
    """Endless little texts that are true together, of two or more and at most `lengths` sentences, drawn evenly.

    After one to three sentences of one phenomenon come sentences that follow from them and, some of
    the time, a last one that merely agrees with them.  No story holds all the sentences of a premise
    in `exclude`, which by default are the premises of validation and test; their names and
    constructions all occur.
    """
    excluded = _held_out(exclude)
    while True:
        story = _story(rng, lengths)
        if len(story) >= 2 and not _contains(story, excluded):
            yield story


def _story(rng: random.Random, lengths: tuple[int, ...]) -> tuple[Form, ...]:
    kind = rng.choice(KINDS)
    other = rng.choice(KINDS) if rng.random() < 0.2 else kind
    with_roles = next((one for one in (kind, other) if one.phenomenon == "definite"), kind)
    cast = _cast(rng, None, with_roles)  # roles want people of one gender
    told = list(draw_premise(kind, rng, cast))
    length, facts = rng.choice(lengths), Facts(tuple(told))
    drawn = [hypothesis(rng.choice((other if rng.random() < 0.2 else kind).shapes), rng, cast) for _ in range(40)]
    fresh = [form for form in dict.fromkeys(drawn) if _says_something(form) and (form not in told or kind.copies)]
    follows = [form for form in fresh if facts.label(form) == ENTAILMENT]
    told += follows[: max(0, length - len(told))]
    if rng.random() < 0.4:
        told += [form for form in fresh if facts.label(form) == NEUTRAL][:1]
    return tuple(told[:length])


def questions(
    rng: random.Random, kinds: Sequence[Kind] = KINDS, exclude: frozenset[tuple[Form, ...]] | None = None
) -> Iterator[tuple[Kind, tuple[Form, ...], Form, int]]:
    """Endless little texts with a sentence that they settle or leave open: kind, text, sentence, its label.

    Labels come in equal shares within each kind, with the same constructions for each. `kinds` may grow while
    this is read. Neither text nor text and sentence together hold a premise in `exclude`, which by default are
    the premises of validation and test.
    """
    excluded = _held_out(exclude)
    waiting: dict[tuple[Kind, int], dict[str, deque[tuple[tuple[Form, ...], Form]]]] = {}
    while True:
        kind = rng.choice(kinds)
        cast = _cast(rng, None, kind)
        text = draw_premise(kind, rng, cast)
        facts, on_stage, recombine = Facts(text), _names_in(*text), rng.random() < RECOMBINED
        for _ in range(16):
            shape = rng.choice(kind.shapes)
            form = hypothesis(shape, rng, cast)
            label = facts.label(form)
            if not _may_ask(form, shape, text, kind) or _contains((*text, form), excluded):
                continue
            if label != NEUTRAL or not recombine or _names_in(form) <= on_stage:
                shapes = waiting.setdefault((kind, label), {one: deque(maxlen=64) for one in kind.shapes})
                shapes[shape].append((text, form))
        wanted = {label: waiting.get((kind, label), {}).get(rng.choice(kind.shapes)) for label in LABELS}
        ready = {label: found for label, found in wanted.items() if found}
        if len(ready) == len(LABELS):
            for label, found in ready.items():
                yield kind, *found.pop(), label


def _held_out(exclude: frozenset[tuple[Form, ...]] | None) -> frozenset[frozenset[Form]]:
    """Premises as sets of sentences; those of validation and test where none are named."""
    if exclude is None:
        exclude = frozenset(item.premise for split in ("validation", "test") for item in items(split))
    return frozenset(frozenset(premise) for premise in exclude)


def _may_ask(form: Form, shape: str, premise: tuple[Form, ...], kind: Kind) -> bool:
    """Whether it says something, and repeats the premise only where the kind allows it."""
    return _says_something(form) and (form not in premise or shape in kind.copies)


def _contains(story: tuple[Form, ...], excluded: frozenset[frozenset[Form]]) -> bool:
    return any(
        frozenset(part) in excluded for size in range(1, min(3, len(story)) + 1) for part in combinations(story, size)
    )


@lru_cache(maxsize=len(_ORDER))
def _sentences_before(split: str) -> frozenset[Form]:
    """Every sentence of the splits that were dealt before this one."""
    earlier = _ORDER[: _ORDER.index(split)]
    return frozenset(form for name in earlier for item in deal(name) for form in (*item.premise, *item.hypothesis))


def _rng(purpose: str) -> random.Random:
    return random.Random(int.from_bytes(hashlib.sha256(f"logic grammar 1: {purpose}".encode()).digest()[:8], "big"))


def _cast(rng: random.Random, split: str | None, kind: Kind) -> Cast:
    """Names for a situation, reserved ones where the kind asks for them; with no split, any names."""
    people, places = _names(split if kind.own_people else None), _names(split if kind.own_places else None)
    by_gender = {gender: people["person", gender] for gender in ("f", "m")}
    return draw_cast(rng, by_gender, places["place", ""], one_gender=kind.phenomenon == "definite")


@lru_cache(maxsize=len(_ORDER) + 1)
def _names(split: str | None) -> dict[tuple[str, str], tuple[str, ...]]:
    """People by gender and places: all, or those reserved for a split."""
    shuffled = {"person": list(names.keys("person")), "place": list(names.keys("place"))}
    turns = [name for name, share in _SHARES.items() for _ in range(share)]
    known = names.all_names()
    chosen: dict[tuple[str, str], list[str]] = {("person", "f"): [], ("person", "m"): [], ("place", ""): []}
    for kind, found in shuffled.items():
        _rng(f"names {kind}").shuffle(found)
        found.sort(key=lambda key: known[key].gender if kind == "person" else "")  # a fair share of each gender
        for number, key in enumerate(found):
            if split is None or turns[number % len(turns)] == split:
                chosen[kind, known[key].gender if kind == "person" else ""].append(key)
    return {group: tuple(members) for group, members in chosen.items()}
