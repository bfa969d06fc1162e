"""What the tiny model is asked: words hidden or swapped in its texts.

A mask stands for a word, or for a run of common words that ends a phrase ("did not visit"), of which the first is
asked: otherwise the number of masks would tell whether a sentence is a denial, and no thought would be needed.
"""

import random
from collections import Counter
from collections.abc import Sequence

from tiny_corpus import Text
from transformers import PreTrainedTokenizerFast

COMMON = 0.002  # share of a language's words from which on a word is common, no name
NOTHING = -100


class Masker:
    """Hides words of one text after another.

    A swapped word comes from the same language, frequent words most often: so the model must notice that a word
    disagrees with the rest of the text. In a text of one language, a name that occurs once is not hidden, because
    nothing could tell it.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, sample: Sequence[Text], seed: int) -> None:
        self.rng = random.Random(seed)
        self.encode = tokenizer.backend_tokenizer.encode
        self.mask, self.ends = tokenizer.mask_token_id, (tokenizer.bos_token_id, tokenizer.eos_token_id)
        self.stops = {tokenizer.convert_tokens_to_ids(stop) for stop in ".。।۔"}
        counts: dict[str, Counter[int]] = {}
        for text in sample:
            for language, words in text.segments:
                counts.setdefault(language, Counter()).update(self.encode(words, add_special_tokens=False).ids)
        self.common = {
            language: {word for word, times in count.items() if times > COMMON * count.total()}
            for language, count in counts.items()
        }
        self.swaps = {
            language: (list(count), [times**0.5 for times in count.values()]) for language, count in counts.items()
        }

    def __call__(self, text: Text) -> tuple[list[int], list[int]]:
        """Token ids as the model sees them, and what it is asked at each (NOTHING: not asked)."""
        first, last = self.ends
        parts = [self.encode(words, add_special_tokens=False).ids for _, words in text.segments]
        told = Counter(word for part in parts for word in part)
        rates = self.rates(text)
        seen, asked = [first], [NOTHING]
        for number, (part, (language, _)) in enumerate(zip(parts, text.segments, strict=True)):
            common = self.common[language]
            if len({language for language, _ in text.segments}) == 2:
                knowable = set(part)
            else:
                knowable = {word for word in part if word in common or told[word] > 1}
            if text.kind != "translation" and number == len(parts) - 1:
                part, gold = self.hide_runs(part, common)
            else:
                gold = [NOTHING] * len(part)
            self.hide_words(part, gold, knowable, language, rates[number])
            if number:
                seen, asked = [*seen, last, last], [*asked, NOTHING, NOTHING]
            seen, asked = seen + part, asked + gold
        return [*seen, last], [*asked, NOTHING]

    def rates(self, text: Text) -> tuple[float, float]:
        """How many of each segment's words are hidden: of a translation often most of one side and few of the other."""
        if text.kind != "translation":
            return 0.1, 0.15
        if self.rng.random() < 0.5:
            return self.rng.uniform(0.1, 0.4), self.rng.uniform(0.1, 0.4)
        heavy, light = self.rng.uniform(0.3, 0.8), 0.05
        return (heavy, light) if self.rng.random() < 0.5 else (light, heavy)

    def hide_runs(self, words: list[int], common: set[int]) -> tuple[list[int], list[int]]:
        """Runs of common words, from a random one of them to the run's end, behind one mask each."""
        seen: list[int] = []
        asked: list[int] = []
        here = 0
        while here < len(words):
            end = here
            while end < len(words) and words[end] in common and words[end] not in self.stops:
                end += 1
            if end == here:
                seen, asked, here = [*seen, words[here]], [*asked, NOTHING], here + 1
            elif self.rng.random() < 0.6:
                start = self.rng.randrange(here, end)
                seen, asked = (
                    [*seen, *words[here:start], self.mask],
                    [*asked, *[NOTHING] * (start - here), words[start]],
                )
                here = end
            else:
                seen, asked, here = [*seen, *words[here:end]], [*asked, *[NOTHING] * (end - here)], end
        return seen, asked

    def hide_words(self, words: list[int], asked: list[int], knowable: set[int], language: str, rate: float) -> None:
        """Words one by one, in place: most behind a mask, some swapped, some left and asked all the same."""
        for place, word in enumerate(words):
            if word not in knowable or self.rng.random() >= rate:
                continue
            asked[place], fate = word, self.rng.random()
            if fate < 0.7:
                words[place] = self.mask
            elif fate < 0.85:
                (words[place],) = self.rng.choices(*self.swaps[language])
