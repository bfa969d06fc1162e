"""The logic grammar: labels against a brute-force model checker, inflection, splits, balance."""

import hashlib
import os
import random
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import islice

import numpy as np
import pytest

from xlbench.engine.contamination import normalised
from xlbench.tasks.logic import forms as f
from xlbench.tasks.logic import grammar, names

SPLITS = ("train", "validation", "test")

# Labels. The checker knows nothing of `facts`: it lists every small model as a vector of variables
# and evaluates the sentences in all of them at once.


class Models:
    """All models over the names of some sentences, two unnamed persons and up to eight more cities.

    A variable per visit, invitation, rank, role holder and number of unnamed cities that a
    sentence mentions; `holds(form)` is a boolean vector over all combinations of their values.
    """

    def __init__(self, told):
        self.people = [*sorted({p for form in told for p in f.people_in(form)}), "someone", "somebody else"]
        self.places = sorted({p for form in told for p in f.places_in(form)})
        self.sizes = {}
        ranked = {}
        for form in told:
            if isinstance(form, (f.Compare, f.Equal)):
                ranked.setdefault(form.adjective, set()).update((form.first, form.second))
            else:
                self.sizes.update(self.variables(form))
        for adjective, people in ranked.items():
            self.sizes.update({("rank", adjective, person): len(people) for person in people})
        self.strides, self.total = {}, 1
        for key, size in self.sizes.items():
            self.strides[key] = self.total
            self.total *= size
        self.columns = {}

    def variables(self, form):
        def visits(people, places):
            return {("visit", person, place): 2 for person in people for place in places}

        match form:
            case f.VisitOnly(person) | f.VisitCount(person):
                return visits([person], self.places) | {("more cities", person): 9}
            case f.Everyone() | f.Nobody():
                return visits(self.people, f.places_in(form))
            case f.RoleVisit(role, _, place):
                return visits(self.people, [place]) | {("holder", role): len(self.people)}
            case f.IsThe(_, role):
                return {("holder", role): len(self.people)}
            case f.Invite() | f.InviteBut():
                host, *guests = f.people_in(form)
                return {("invite", host, guest): 2 for guest in guests}
        return visits(f.people_in(form), f.places_in(form))

    def value(self, *key):
        if key not in self.columns:
            column = np.arange(self.total, dtype=np.int32) // self.strides[key] % self.sizes[key]
            self.columns[key] = column.astype(bool if key[0] in ("visit", "invite") else np.int8)
        return self.columns[key]

    def all_of(self, vectors):
        return np.logical_and.reduce(list(vectors))

    def holds(self, form):
        match form:
            case f.Visit(people, places, positive):
                return self.all_of(self.value("visit", p, q) for p in people for q in places) == positive
            case f.Neither(people, place):
                return self.all_of(~self.value("visit", p, place) for p in people)
            case f.VisitBut(person, visited, missed):
                return self.value("visit", person, visited) & ~self.value("visit", person, missed)
            case f.VisitOnly(person, places):
                rest = self.all_of(~self.value("visit", person, q) for q in self.places if q not in places)
                visited = self.all_of(self.value("visit", person, q) for q in places)
                return visited & rest & (self.value("more cities", person) == 0)
            case f.VisitCount(person, comparison, number):
                count = sum((self.value("visit", person, q).astype(int) for q in self.places), 0)
                count = count + self.value("more cities", person)
                return {"exactly": count == number, "more": count > number, "fewer": count < number}[comparison]
            case f.Everyone(places):
                return self.all_of(self.value("visit", p, q) for p in self.people for q in places)
            case f.Nobody(place):
                return self.all_of(~self.value("visit", p, place) for p in self.people)
            case f.Invite(host, guests, positive):
                return self.all_of(self.value("invite", host, g) for g in guests) == positive
            case f.InviteBut(host, guest, left_out):
                return self.value("invite", host, guest) & ~self.value("invite", host, left_out)
            case f.Compare(first, second, adjective, positive):
                return (self.value("rank", adjective, first) > self.value("rank", adjective, second)) == positive
            case f.Equal(first, second, adjective):
                return self.value("rank", adjective, first) == self.value("rank", adjective, second)
            case f.IsThe(person, role, positive):
                return (self.value("holder", role) == self.people.index(person)) == positive
            case f.RoleVisit(role, _, place, positive):
                holder = self.value("holder", role)
                visited = [(holder == i) & self.value("visit", p, place) for i, p in enumerate(self.people)]
                return np.logical_or.reduce(visited) == positive


LARGEST = 3_000_000


def label_by_models(premise, hypothesis):
    """0, 1, 2 as the hypothesis is true in all, some or no models of the premise; None if too many models."""
    models = Models((*premise, *hypothesis))
    if models.total > LARGEST:
        return None
    true = models.all_of(models.holds(form) for form in premise)
    assert true.any(), f"no model of {premise}"
    also = true & models.all_of(models.holds(form) for form in hypothesis)
    return 2 if not also.any() else 0 if (also == true).all() else 1


@pytest.mark.parametrize("phenomenon", grammar.PHENOMENA)
def test_labels_agree_with_brute_force_models(phenomenon):
    rows = [item for split in SPLITS for item in grammar.items(split) if item.phenomenon == phenomenon]
    checked = 0
    for item in random.Random(0).sample(rows, 60):
        label = label_by_models(item.premise, item.hypothesis)
        if label is not None:
            checked += 1
            assert label == item.label, grammar.render(item, "en")
    assert checked >= 40


def test_stories_have_a_model():
    checked = 0
    for story in islice(grammar.stories(random.Random(3)), 150):
        if Models(story).total <= LARGEST:
            checked += 1
            label_by_models(story, story[:1])  # asserts that a model exists
    assert checked >= 100


def test_the_checker_itself_on_cases_worked_by_hand():
    taller = f.Compare("Anna", "Boris", "tall"), f.Compare("Boris", "Carlos", "tall")
    assert label_by_models(taller, (f.Compare("Carlos", "Anna", "tall", False),)) == 0
    assert label_by_models(taller, (f.Equal("Anna", "Carlos", "tall"),)) == 2
    assert label_by_models((f.VisitCount("Anna", "more", 2),), (f.VisitCount("Anna", "more", 3),)) == 1
    assert label_by_models((f.VisitOnly("Anna", ("Paris",)),), (f.VisitCount("Anna", "fewer", 2),)) == 0
    assert label_by_models((f.Nobody("Paris"),), (f.RoleVisit("singer", "f", "Paris", False),)) == 0


# Splits


@cache
def forms_of(split):
    if split == "parallel":
        return set(grammar.sentences())
    return {form for item in grammar.items(split) for form in (*item.premise, *item.hypothesis)}


@pytest.mark.parametrize("language", grammar.LANGUAGES)
def test_no_sentence_of_test_or_validation_is_seen_elsewhere(language):
    said = {
        split: {normalised(grammar.say(form, language)) for form in forms_of(split)} for split in (*SPLITS, "parallel")
    }
    assert not said["test"] & (said["validation"] | said["train"] | said["parallel"])
    assert not said["validation"] & (said["train"] | said["parallel"])
    # Thai and Chinese names stand side by side: two forms must not run into one string.
    assert len(said["parallel"]) == len({normalised(grammar.say(form, "en")) for form in forms_of("parallel")})


def test_stories_never_hold_a_held_out_premise_but_every_name_and_both_polarities():
    held_out = {frozenset(item.premise) for split in ("validation", "test") for item in grammar.items(split)}
    seen, constructions = set(), Counter()
    for story in islice(grammar.stories(random.Random(7)), 2000):
        assert 2 <= len(story) <= 4
        assert not any(premise <= set(story) for premise in held_out if len(premise) == 1)
        assert not any(set(story[i:j]) in held_out for i in range(4) for j in range(i + 1, 5))
        for form in story:
            seen.update(f.people_in(form), f.places_in(form))
            constructions[type(form).__name__, getattr(form, "positive", True)] += 1
    assert seen == set(names.keys("person")) | set(names.keys("place"))
    assert min(constructions.values()) >= 25
    assert len(constructions) == 13 + 5  # five forms have a denial of their own


def test_a_role_has_the_gender_of_everybody_who_could_hold_it():
    texts = [item.premise + item.hypothesis for item in grammar.items("test")]
    for told in (*texts, *islice(grammar.stories(random.Random(9)), 1000)):
        genders = {form.gender for form in told if isinstance(form, f.RoleVisit)}
        holders = {names.all_names()[form.person].gender for form in told if isinstance(form, f.IsThe)}
        assert len(genders | holders) <= 1


def test_stories_obey_another_exclude_set():
    banned = next(grammar.stories(random.Random(5)))[:1]
    assert banned[0] in next(grammar.stories(random.Random(5), frozenset()))
    assert banned[0] not in next(grammar.stories(random.Random(5), frozenset({banned})))


def test_questions_are_labelled_as_the_models_say_and_never_hold_a_held_out_premise():
    held_out = {frozenset(item.premise) for split in ("validation", "test") for item in grammar.items(split)}
    labels, checked = Counter(), 0
    for kind, text, form, label in islice(grammar.questions(random.Random(7)), 900):
        assert not any(premise <= {*text, form} for premise in held_out)
        labels[kind.phenomenon, label] += 1
        if checked < 40 and Models((*text, form)).total <= 10_000:
            checked += 1
            assert label_by_models(text, (form,)) == label
    assert checked == 40
    for phenomenon in grammar.PHENOMENA:
        assert len({labels[phenomenon, label] for label in grammar.LABELS}) == 1
        assert labels[phenomenon, 0] > 15


def test_questions_follow_the_kinds_that_they_are_given():
    kinds = [grammar.KINDS[2]]
    asked = grammar.questions(random.Random(0), kinds)
    assert {kind for kind, *_ in islice(asked, 60)} == {grammar.KINDS[2]}
    kinds.append(grammar.KINDS[5])
    assert {kind for kind, *_ in islice(asked, 200)} == {grammar.KINDS[2], grammar.KINDS[5]}


def test_parallel_sentences_are_different_and_of_every_form():
    sentences = grammar.sentences(n=4000)
    assert len(set(sentences)) == 4000
    assert len({type(form) for form in sentences}) == 13
    assert grammar.sentences(n=10) == sentences[:10]
    with pytest.raises(ValueError, match="4000"):
        grammar.sentences(n=4001)


# Rows


@pytest.mark.parametrize("split", SPLITS)
def test_each_premise_has_one_row_per_label_and_phenomena_are_balanced(split):
    rows = grammar.items(split)
    assert len(rows) == 3 * grammar.PREMISES[split]
    assert len({row.id for row in rows}) == len(rows)
    for start in range(0, len(rows), 3):
        three = rows[start : start + 3]
        assert {row.label for row in three} == {0, 1, 2}
        assert len({(row.premise_id, row.premise, row.phenomenon) for row in three}) == 1
        assert all(row.id == f"{row.premise_id}-{place}" for place, row in enumerate(three))
    counts = Counter(row.phenomenon for row in rows)
    assert set(counts) == set(grammar.PHENOMENA)
    assert max(counts.values()) - min(counts.values()) <= 3
    assert len({row.premise for row in rows}) == grammar.PREMISES[split]


def is_negative(form: f.Form) -> bool:
    """Whether the whole sentence is a denial (not, neither, nobody)."""
    return isinstance(form, f.Neither | f.Nobody) or not getattr(form, "positive", True)


@pytest.mark.parametrize("split", SPLITS)
def test_hypothesis_form_and_polarity_tell_nothing_of_the_label(split):
    for phenomenon in grammar.PHENOMENA:
        by_label = {label: Counter() for label in grammar.LABELS}
        for row in grammar.items(split):
            if row.phenomenon == phenomenon:
                (form,) = row.hypothesis
                by_label[row.label][type(form).__name__, is_negative(form)] += 1
                by_label[row.label][getattr(form, "comparison", "")] += 1
        assert by_label[0] == by_label[1] == by_label[2]


def test_a_new_name_is_no_sure_sign_of_neutral():
    def new(row):
        on_stage = {name for form in row.premise for name in (*f.people_in(form), *f.places_in(form))}
        return any(name not in on_stage for form in row.hypothesis for name in (*f.people_in(form), *f.places_in(form)))

    neutral = [new(row) for row in grammar.items("test") if row.label == 1]
    assert 0.3 < sum(neutral) / len(neutral) < 0.65


def test_units_are_short():
    lengths = [len(grammar.render(row, "en")[0].split()) for row in grammar.items("test")]
    assert max(lengths) <= 24
    assert 6 <= np.mean(lengths) <= 14


def test_unknown_split_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'dev'.*train, validation, test"):
        grammar.items("dev")


DIGEST = "bfab21ea30f199587fc7e33e08627906e4c9ef1632413900215e479a432a3bff"


def test_test_rows_are_the_same_in_every_release():
    digest = hashlib.sha256()
    for language in grammar.LANGUAGES:
        for item in grammar.items("test"):
            digest.update(repr((item.id, item.label, grammar.render(item, language))).encode())
    assert digest.hexdigest() == DIGEST


def test_the_rows_that_ship_are_those_that_the_grammar_deals_in_any_process():
    code = """
from xlbench.tasks.logic import grammar, rows
dealt = rows.told({split: grammar.deal(split) for split in rows.PREMISES}, grammar.deal_parallel())
assert dealt == rows.shipped(), "run scripts/deal_logic.py"
"""
    here = os.environ.get("PYTHONHASHSEED", "")
    env = os.environ | {"PYTHONHASHSEED": "2" if here == "1" else "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
