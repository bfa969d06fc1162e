"""What the tiny model is asked: words hidden or swapped in its texts.

A mask stands for a word, or for a run of common words that ends a phrase ("did not visit"), of which the first is
asked: otherwise the number of masks would tell whether a sentence is a denial, and no thought would be needed.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tiny_corpus import Text
from tiny_dialogues import Dialogue
from transformers import PreTrainedTokenizerFast

COMMON = 0.002  # share of a language's words from which on a word is common, no name
NOTHING = -100


class Masker:
    """Hides words of one text after another.

    A swapped word comes from the same language, frequent words most often, and a swapped run was seen elsewhere
    beside the same name: so the model must notice that words disagree with the rest of the text. In a text of one
    language, a name that occurs once is not hidden, because nothing could tell it.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, sample: Sequence[Text], seed: int) -> None:
        self.rng = random.Random(seed)
        self.encode = tokenizer.backend_tokenizer.encode
        self.mask, self.ends = tokenizer.mask_token_id, (tokenizer.bos_token_id, tokenizer.eos_token_id)
        self.stops = {tokenizer.convert_tokens_to_ids(stop) for stop in ".。।۔"}
        counts: dict[str, Counter[int]] = defaultdict(Counter)
        spoken = [(language, self.ids(words)) for text in sample for language, words in text.segments]
        for language, words in spoken:
            counts[language].update(words)
        self.common = {
            language: {word for word, times in count.items() if times > COMMON * count.total()} - self.stops
            for language, count in counts.items()
        }
        self.swaps = {
            language: (list(count), [times**0.5 for times in count.values()]) for language, count in counts.items()
        }
        self.beside: dict[tuple[str, int], list[list[int]]] = defaultdict(list)
        for language, words in spoken:
            for start, end in self.runs(words, language):
                self.beside[language, neighbour(words, start, end)].append(words[start:end])

    def ids(self, words: str) -> list[int]:
        """Pieces of one segment."""
        ids: list[int] = self.encode(words, add_special_tokens=False).ids
        return ids

    def __call__(self, text: Text) -> tuple[list[int], list[int]]:
        """Token ids as the model sees them, and what it is asked at each (NOTHING: not asked)."""
        first, last = self.ends
        parts = [self.ids(words) for _, words in text.segments]
        told = Counter(word for part in parts for word in part)
        bilingual = len({language for language, _ in text.segments}) > 1
        seen, asked = [first], [NOTHING]
        for number, (words, (language, _), rate) in enumerate(
            zip(parts, text.segments, self.rates(text), strict=False)
        ):
            part, gold = words, [NOTHING] * len(words)
            if text.kind != "translation" and number == len(parts) - 1:
                part, gold = self.hide_runs(words, language)
            knowable = {word for word in words if bilingual or word in self.common[language] or told[word] > 1}
            self.hide_words(part, gold, knowable, language, rate)
            if number:
                seen, asked = [*seen, last, last], [*asked, NOTHING, NOTHING]
            seen, asked = seen + part, asked + gold
        return [*seen, last], [*asked, NOTHING]

    def ask(self, dialogue: Dialogue) -> tuple[list[int], list[int]]:
        """A dialogue with its answer hidden, and nothing else."""
        first, last = self.ends
        (answer,) = self.ids(dialogue.answer)
        before, after = [first, *self.ids(dialogue.before)], [*self.ids(dialogue.after), last]
        return [*before, self.mask, *after], [*[NOTHING] * len(before), answer, *[NOTHING] * len(after)]

    def rates(self, text: Text) -> tuple[float, float]:
        """How many of each segment's words are hidden: of a translation often most of one side and few of the other."""
        if text.kind != "translation":
            return 0.1, 0.12
        if self.rng.random() < 0.5:
            return self.rng.uniform(0.1, 0.4), self.rng.uniform(0.1, 0.4)
        heavy, light = self.rng.uniform(0.3, 0.8), 0.05
        return (heavy, light) if self.rng.random() < 0.5 else (light, heavy)

    def runs(self, words: list[int], language: str) -> Iterator[tuple[int, int]]:
        """Where runs of common words begin and end."""
        common, end = self.common[language], 0
        for start in range(len(words)):
            if start >= end and words[start] in common:
                end = start + 1
                while end < len(words) and words[end] in common:
                    end += 1
                yield start, end

    def hide_runs(self, words: list[int], language: str) -> tuple[list[int], list[int]]:
        """Most runs of common words: behind a mask from one of their words on, swapped, or left and asked."""
        seen, asked, done = [], [], 0
        for start, end in self.runs(words, language):
            fate = self.rng.random()
            if fate < 0.4:
                start = self.rng.randrange(start, end)
                shown = [self.mask]
            elif fate < 0.6:
                shown = self.rng.choice(self.beside[language, neighbour(words, start, end)] or [words[start:end]])
            elif fate < 0.7:
                shown = words[start:end]
            else:
                continue
            seen += words[done:start] + shown
            asked += [NOTHING] * (start - done) + [words[start]] + [NOTHING] * (len(shown) - 1)
            done = end
        return seen + words[done:], asked + [NOTHING] * (len(words) - done)

    def hide_words(self, words: list[int], asked: list[int], knowable: set[int], language: str, rate: float) -> None:
        """Words one by one, in place: most behind a mask, some swapped, some left and asked all the same."""
        for place, word in enumerate(words):
            if word not in knowable or asked[place] != NOTHING or self.rng.random() >= rate:
                continue
            asked[place], fate = word, self.rng.random()
            if fate < 0.7:
                words[place] = self.mask
            elif fate < 0.85:
                (words[place],) = self.rng.choices(*self.swaps[language])


def neighbour(words: list[int], start: int, end: int) -> int:
    """The word that follows a run, or, at a sentence's end, the word before it."""
    last = end >= len(words) - 1
    return words[start - 1] if last and start else words[min(end, len(words) - 1)]
