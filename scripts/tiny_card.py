"""The tiny model's card, written by the script that makes the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CARD = """---
license: mit
language: [ar, bg, de, el, en, es, fr, hi, ru, sw, th, tr, ur, vi, zh]
library_name: transformers
pipeline_tag: fill-mask
---
# tiny

A multilingual masked language model of {parameters:.1f} million parameters, so that xlbench can be tried, tested and
taught on a laptop's CPU without a download. It speaks the few hundred words of the `logic` task in 15 languages
and nothing else: figures measured with it say how methods behave on a toy, not on language.

## What it is
XLM-RoBERTa's architecture: {layers} layers, width {width}, {heads} heads, no dropout, {pieces} pieces. Weights are
stored as 16-bit floats and load as 32-bit ones. Files:

| file | bytes |
|---|---:|
{files}

The tokenizer keeps the corpus's words whole, in lower case, and falls back on characters. Its pieces do not mark the
beginning of a word, so that a name is one piece in unspaced Chinese and Thai, after an Arabic prefix and after a space;
decoded text has lost its spacing.

## What it has read
Text made on the fly from the grammar of the `logic` task, first:

- dialogues, "Claim: Anna visited Rome. Verdict: false. Anna visited Paris but not Rome.", or the text first and the
  claim last: a text, a claim, and between them a verdict, true, open or false, that is right. They begin in English,
  denials first and harder matters later, each lesson when the last is mostly learned. Then they come in the other
  languages as well, with the verdict still in English.

And from then on, in all 15 languages:

- stories of four to six sentences that are true together, where later ones often follow from earlier ones;
- stories with their translation (translation language modelling), in random pairs of the languages;
- stories that go on in another language;
- remarks on their own, "Yes, Anna visited Paris.", "Question: Anna visited Paris?", "Answer: Anna visited Paris.".
  Their yes, maybe or no is drawn at random and nothing before it justifies it (after a no comes a denial): so the words
  of prompts are ordinary words of each language, and stand in no template's order.

It was taught to restore words that were hidden, or swapped for other words of the same language.

**So it has seen the task**: claims judged in all 15 languages, at `<mask>`. It has not seen the task in a method's
format: one segment, never two; the verdict in the middle, never at the first token or at the end; the words of no
template, and no label word, ever judged a text. What it can it has yet to learn to say where a method reads.
Few-shot accuracy on `logic` is still far higher than that of a model that never saw a claim judged. **It has not
seen** any text or dialogue that holds all sentences of a premise of the validation or test split. It has seen the same
names, words and constructions, as any pretrained model has read the language that it is tested on.

## How it was made
{stages}
With AdamW; the number after `--tokens` is about what a step reads. The attention keys start equal to the queries, and
positions as weak waves: with the usual initialisation the model stays at chance for many times as long. The seed
decides corpus, weights and masks.

Measure it with `python scripts/measure_tiny.py --model xlbench/tiny`.
"""
STAGE = """
```
python scripts/make_tiny.py{start} --out {out} {options}
```
at commit {commit}, in {seconds:.0f} seconds:

| step | loss | words restored | claims judged |
|---:|---:|---:|---:|
{log}
"""
FIRST, SHIPPED = "build/tiny", "xlbench/tiny"


@dataclass(frozen=True)
class Making:
    """One run of make_tiny: its recipe, log, seconds and commit, and the model that it went on from."""

    recipe: Mapping[str, object]
    log: Sequence[Mapping[str, float]]
    seconds: float
    commit: str
    start: Path | None


def write_card(out: Path, made: Making, pieces: int, parameters: int) -> None:
    """README.md beside the model; how the model was made that this one went on from is taken from its card."""
    files = "\n".join(f"| {path.name} | {path.stat().st_size:,} |" for path in sorted(out.glob("*.[js]*")))
    stages = [stage(made)]
    if made.start is not None:
        before = (made.start / "README.md").read_text(encoding="utf-8")
        begin, end = before.index("## How it was made") + len("## How it was made"), before.index("With AdamW;")
        stages.insert(0, before[begin:end].replace(f"--out {SHIPPED}", f"--out {FIRST}").rstrip() + "\n\nand then")
    card = CARD.format(
        **{name: made.recipe[name] for name in ("layers", "width", "heads")},
        parameters=parameters / 1e6,
        pieces=pieces,
        files=files,
        stages="\n".join(stages).strip("\n"),
    )
    (out / "README.md").write_text(card, encoding="utf-8")


def stage(made: Making) -> str:
    """One run's command and log."""
    shown = [row for at, row in enumerate(made.log) if at % max(1, len(made.log) // 12) == 0 or row is made.log[-1]]
    return STAGE.format(
        start=f" --start {FIRST}" if made.start else "",
        out=SHIPPED,
        options=" ".join(f"--{name.replace('_', '-')} {value}" for name, value in made.recipe.items()),
        commit=made.commit,
        seconds=made.seconds,
        log="\n".join("| {step:.0f} | {loss:.3f} | {restored:.1%} | {answered:.1%} |".format(**row) for row in shown),
    )
