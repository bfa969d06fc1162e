"""The tiny model's tokenizer: Unigram pieces trained on the corpus, with RoBERTa's special tokens.

Pieces do not mark the beginning of a word: so a name is the same piece after a space, inside an unspaced
Chinese or Thai sentence, and after an Arabic prefix.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator

from tiny_corpus import PUNCTUATION, read
from tiny_dialogues import CLAIM, VERDICT, VERDICTS
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from xlbench.nli import QUESTION_WORDS, NLITask
from xlbench.tasks.logic.names import all_names

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
TEXTS = 30_000
JOINED = ("ar", "th", "zh")  # languages that write words together with names


def names_apart(texts: Iterator[str]) -> Iterator[str]:
    """Texts with a space around every name of the joined languages, so that names become pieces."""
    spellings = {name.spelling[code] for name in all_names().values() for code in JOINED}
    pattern = re.compile("|".join(sorted(map(re.escape, spellings), key=len, reverse=True)))
    return (pattern.sub(r" \g<0> ", text) for text in texts)


def train_tokenizer(vocabulary: int, seed: int) -> PreTrainedTokenizerFast:
    """A fast tokenizer in lower case: the corpus's most frequent words are pieces, as are all its characters.

    The words are counted, not found by expectation maximisation: in so regular a corpus every word is frequent,
    and the trainer of the tokenizers library proposes no piece that is only ever a whole word.
    """
    normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    splitter = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(f"[{re.escape(PUNCTUATION)}'’—]"), "isolated")]
    )
    counts: Counter[str] = Counter()
    texts = (segment for text in itertools.islice(read(seed), TEXTS) for _, segment in text.segments)
    for text in names_apart(texts):
        counts.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    asked = [word.rstrip(":") for question, answer, _ in QUESTION_WORDS.values() for word in (question, answer)]
    said = [word for words in NLITask.label_words.values() for word in words]
    prompts = " ".join([*said, *asked, CLAIM, VERDICT, *VERDICTS])
    needed = {*normalizer.normalize_str(prompts).split(), *"".join(counts)}
    words = [word for word, _ in counts.most_common(vocabulary - len(SPECIAL) - len(needed)) if word not in needed]
    total = counts.total()
    pieces = [(word, math.log((counts[word] + 0.1) / total)) for word in (*sorted(needed), *words)]
    specials = [(name, 0.0) for name in SPECIAL[:-1]]
    mask = [(SPECIAL[-1], 0.0)]
    tokenizer = Tokenizer(models.Unigram([*specials, *pieces, *mask], unk_id=SPECIAL.index("<unk>")))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=256,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
    )
