"""Dictionaries of words: induced from parallel text by IBM model 1 both ways, or read from MUSE's files; and texts in
which words are switched for their translations.

Brown et al. (1993), The Mathematics of Statistical Machine Translation; Conneau et al. (2018), Word Translation Without
Parallel Data, for the files. A word is looked up in lower case, NFKC.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from xlbench.corpora import Pair
from xlbench.errors import XlbenchError
from xlbench.language_codes import language_of

Dictionary = Mapping[str, Sequence[str]]
Align = Literal["ibm1", "dice"]
Segment = Callable[[str], list[str]]

WITHOUT_SPACES = frozenset({"zh", "ja", "th", "km", "lo", "my", "bo", "dz"})  # whose words the tokenizer must part
ITERATIONS, LEAST_P, LEAST_DICE, LEAST_COUNT = 10, 0.1, 0.3, 2
_made: dict[tuple[int, str, str, str], Dictionary] = {}


@dataclass(frozen=True)
class WordSource:
    """What the dictionary of a language comes from: the entries of a file, or pairs to induce it from."""

    source_language: str
    language: str
    entries: tuple[tuple[str, str], ...] = ()
    pairs: tuple[Pair, ...] = ()
    align: Align = "ibm1"

    def dictionary(self, pieces: Segment, tokenizer: str) -> Dictionary:
        """The dictionary. `pieces` parts text of languages without spaces as the `tokenizer`, so named, does. What is
        induced is kept for the process: cells of a suite share it."""
        if self.entries:
            found: dict[str, list[str]] = defaultdict(list)
            for word, translation in self.entries:
                found[word].append(translation)
            return found
        key = hash(self.pairs), self.align, self.language, tokenizer
        if key not in _made:
            sides = [
                pieces if language_of(code) in WITHOUT_SPACES else words_in
                for code in (self.source_language, self.language)
            ]
            texts = dict.fromkeys(text for pair in self.pairs for text in zip(pair.source, pair.target, strict=True))
            parted = [(sides[0](plain(ours)), sides[1](plain(theirs))) for ours, theirs in texts]
            _made[key] = induced(parted, self.align)
        return _made[key]


def plain(text: str) -> str:
    """A text as it is looked up."""
    return unicodedata.normalize("NFKC", text).lower()


def words_in(text: str) -> list[str]:
    """Runs of letters, marks and digits, with ' and - within them: Python's own \\w has no vowel signs."""
    words, start = [], -1
    for place, letter in enumerate(text + " "):
        inside = unicodedata.category(letter)[0] in "LMN"
        if inside and start < 0:
            start = place
        elif not inside and start >= 0:
            follows = place + 1 < len(text) and unicodedata.category(text[place + 1])[0] in "LMN"
            if letter not in "'-’" or not follows:
                words.append(text[start:place])
                start = -1
    return words


def induced(parted: Sequence[tuple[Sequence[str], Sequence[str]]], align: Align = "ibm1") -> Dictionary:
    """A dictionary from sentences and their translations, each as words: at most one translation of a word.

    ibm1: word s and t stay where each is the likeliest translation of the other, p(t|s) ≥ 0.1, and s is there twice.
    dice: the best t of s by 2·c(s, t) / (c(s) + c(t)) ≥ 0.3 over the sentences, s twice.
    """
    counts = Counter(word for ours, _ in parted for word in ours)
    if align == "dice":
        best = _best(dice(parted))
        return {s: (t,) for s, (t, value) in best.items() if value >= LEAST_DICE and counts[s] >= LEAST_COUNT}
    forth = _best(translation_table(parted))
    back = _best(translation_table([(theirs, ours) for ours, theirs in parted]))
    return {
        s: (t,)
        for s, (t, p) in forth.items()
        if back.get(t, ("", 0.0))[0] == s and p >= LEAST_P and counts[s] >= LEAST_COUNT
    }


def _best(table: Mapping[tuple[str, str], float]) -> dict[str, tuple[str, float]]:
    """Of each first word its best second one, and how good; the first in the order of words where several are."""
    best: dict[str, tuple[str, float]] = {}
    for (s, t), value in sorted(table.items()):
        if value > best.get(s, ("", 0.0))[1]:
            best[s] = t, value
    return best


def dice(parted: Iterable[tuple[Sequence[str], Sequence[str]]]) -> dict[tuple[str, str], float]:
    """Dice's coefficient of words that stand in a sentence and in its translation."""
    ours: Counter[str] = Counter()
    theirs: Counter[str] = Counter()
    both: Counter[tuple[str, str]] = Counter()
    for first, second in parted:
        ours.update(set(first))
        theirs.update(set(second))
        both.update((s, t) for s in set(first) for t in set(second))
    return {(s, t): 2 * number / (ours[s] + theirs[t]) for (s, t), number in both.items()}


def translation_table(
    parted: Sequence[tuple[Sequence[str], Sequence[str]]], iterations: int = ITERATIONS, null: bool = True
) -> dict[tuple[str, str], float]:
    """p(t|s) by IBM model 1, from 1 / |V| at first; with `null` each sentence has a word that stands for none, which is
    left out of what is given."""
    ours, theirs = ({word: n for n, word in enumerate(dict.fromkeys(w for pair in parted for w in pair[side]))}
                    for side in (0, 1))  # fmt: skip
    if not ours or not theirs:
        return {}
    first, second, group, number = [], [], [], 0
    for sentence, translation in parted:
        left = [ours[word] for word in sentence] + ([len(ours)] if null else [])
        for word in translation if left else ():
            first.extend(left)
            second.extend([theirs[word]] * len(left))
            group.extend([number] * len(left))
            number += 1
    s, t, token = (np.array(one, dtype=np.int64) for one in (first, second, group))
    keys, link = np.unique(s * len(theirs) + t, return_inverse=True)
    source = keys // len(theirs)
    p = np.full(len(keys), 1.0 / len(theirs))
    for _ in range(iterations):
        share = p[link]
        share = share / np.bincount(token, weights=share)[token]
        expected = np.bincount(link, weights=share)
        p = expected / np.bincount(source, weights=expected)[source]
    names = [list(ours), list(theirs)]
    return {
        (names[0][key // len(theirs)], names[1][key % len(theirs)]): float(value)
        for key, value in zip(keys.tolist(), p, strict=True)
        if key // len(theirs) < len(ours)
    }


def read_muse(file: Path) -> tuple[tuple[str, str], ...]:
    """The entries of a file of MUSE's: a word and its translation a line, a blank or tab between; those that are the
    same word twice are left out. Raises XlbenchError naming the line."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as fault:
        raise XlbenchError(f"cannot read the dictionary {file}: {fault}; save it as text in UTF-8") from fault
    entries = []
    for number, line in enumerate(lines, 1):
        parts = line.split("\t") if "\t" in line else line.split(" ")
        if len(parts) != 2 or not all(part.strip() for part in parts):
            if line.strip():
                raise XlbenchError(
                    f"{file}, line {number}: {line[:60]!r} is no word and its translation with a blank or tab between"
                )
            continue
        word, translation = (plain(part.strip()) for part in parts)
        if word != translation:
            entries.append((word, translation))
    return tuple(entries)


def switched(
    tokens: Sequence[str],
    dictionaries: Sequence[Dictionary],
    rate: float,
    random: np.random.Generator,
    redraws: int = 0,
    edges: bool = True,
) -> list[str]:
    """Tokens of a text, each with a chance of `rate` in place of which stands a translation of it.

    The language is drawn for each token, again up to `redraws` times while it has no such word; then one of its
    translations. A token without one stays. `edges`: punctuation around a token is put back around its translation;
    without, such a token has none.
    """
    chosen = []
    for token in tokens:
        before, word, after = _bare(token) if edges else ("", token, "")
        if dictionaries and random.random() < rate:
            for _ in range(1 + redraws):
                found = dictionaries[int(random.integers(len(dictionaries)))].get(plain(word))
                if found:
                    token = f"{before}{found[int(random.integers(len(found)))]}{after}"
                    break
        chosen.append(token)
    return chosen


def _bare(token: str) -> tuple[str, str, str]:
    """A token's punctuation before it, the word, and the punctuation behind it."""
    inside = [place for place, letter in enumerate(token) if unicodedata.category(letter)[0] in "LMN"]
    if not inside:
        return "", token, ""
    return token[: inside[0]], token[inside[0] : inside[-1] + 1], token[inside[-1] + 1 :]
