"""Template, TextEncoder, Verbalizer, PromptEncoder."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xlbench.errors import XlbenchError
from xlbench.method import PromptMethod
from xlbench.nli import NLITask
from xlbench.prompts import (
    PACKING,
    Encoded,
    PromptEncoder,
    Template,
    TextEncoder,
    Verbalizer,
    without_closing_punctuation,
)

ME5 = Path(__file__).parents[3] / "shared" / "models" / "me5-small-mlm"
FIELDS = ("premise", "hypothesis")
SOFT, QUESTION, PAIR = (NLITask.templates[name]["en"] for name in ("soft", "question", "pair"))
SPECIAL = ["<mask>", "</s>", "<s>", "<pad>", "<unk>", "<MASK>", "</S>", "\uff1cmask\uff1e", "<ma\x01sk>", "<mas\u212a>"]


def template(text: str) -> Template:
    return Template(text, FIELDS, "task t, template 'x', en")


def tokens(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def encode(tokenizer, text: str, premise: str, hypothesis: str, max_length: int = 128, vectors: int = 0) -> Encoded:
    return TextEncoder(tokenizer, max_length).encode(template(text), [(premise, hypothesis)], vectors)


# Words that the tiny tokenizer knows, words that it does not, and everything that has ever broken an encoder.
STRANGE = ["😀👩‍👩‍👧", "\u202eمرحبا\u202c", "שלום", "e\u0301", "\u0301", "\x00", "\n\t", "İ", "ﬁ", " ", "", "?"]
awkward = st.sampled_from([*SPECIAL, *STRANGE])
sentences = st.sampled_from(["Anna visited Rome.", "你好，世界！", "ที่นี่", "ναι;", "Ödön"])
texts = st.lists(st.one_of(st.text(max_size=30), awkward, sentences), max_size=12).map("".join) | st.builds(
    lambda text, times: " ".join([text] * times),
    st.one_of(sentences, awkward, st.text(min_size=1, max_size=5)),
    st.integers(1, 150),
)

# The template's own pieces: those between the two texts, and those after the hypothesis.
AROUND = {
    "soft": (SOFT, [" . "], [" ? ", "<prompt>", " <mask> ."]),
    "question": (QUESTION, ["<sep>", "question:"], ["? Answer: <mask>"]),
    "pair": (PAIR, ["<sep>"], []),
}


@settings(max_examples=150, deadline=None)
@given(texts, texts, st.sampled_from(sorted(AROUND)), st.integers(24, 90), st.integers(1, 8))
@example("<mask> " * 200, "</s></s> <s>", "question", 24, 4)
@example(" ", "<MASK></S>", "soft", 24, 8)
@example("a", "</S></S> b", "pair", 30, 1)
def test_any_two_texts_become_a_row_that_fits_with_the_whole_template_in_order(
    tiny, premise, hypothesis, name, max_length, vectors
):
    text, between, after = AROUND[name]
    encoder = TextEncoder(tiny.tokenizer, max_length)
    encoded = encoder.encode(template(text), [(premise, hypothesis)], vectors)
    row = encoded.ids[0].tolist()

    def own(parts: list[str]) -> list[int]:
        known = {"<sep>": encoder.separator, "<prompt>": [-1 - number for number in range(vectors)]}
        return [token for part in parts for token in (known[part] if part in known else tokens(tiny.tokenizer, part))]

    assert len(row) <= max_length
    whole = TextEncoder(tiny.tokenizer, 10_000).encode(template(text), [(premise, hypothesis)], vectors).ids[0].tolist()
    if len(whole) <= max_length:
        assert row == whole
    head, tail = encoder.begin, own(after) + encoder.end
    assert row[: len(head)] == head
    assert row[len(row) - len(tail) :] == tail
    inside = row[len(head) : len(row) - len(tail)]
    middle = own(between)
    assert any(inside[start : start + len(middle)] == middle for start in range(len(inside) - len(middle) + 1))
    # No token of a text is special: every special one is the frame's or the template's.
    special = set(tiny.tokenizer.all_special_ids) - {tiny.tokenizer.unk_token_id}
    frame = encoder.begin + [token for token in middle + tail if token in special]
    assert [token for token in row if token in special] == frame
    if name == "pair":
        assert encoded.read_at[0] == 0
    else:
        assert np.flatnonzero(encoded.ids[0] == encoder.mask).tolist() == [encoded.read_at[0]]
    where = row.index(encoder.separator[0], len(head)) + len(encoder.separator) if "<sep>" in text else len(row)
    assert encoded.second_at[0] == where


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(20, 100))
def test_truncation_shortens_the_longer_text_and_no_more_than_it_must(tiny, ours, theirs, max_length):
    anna, rome = tokens(tiny.tokenizer, "anna"), tokens(tiny.tokenizer, "rome")
    encoded = encode(tiny.tokenizer, PAIR, " ".join(["anna"] * ours), " ".join(["rome"] * theirs), max_length)
    room = max_length - 4
    whole = (ours * len(anna), theirs * len(rome))
    second = int(encoded.second_at[0])
    kept = (second - 3, len(encoded.ids[0]) - second - 1)
    assert sum(kept) == min(room, sum(whole))
    if sum(whole) > room:
        shorter = min(whole)
        if 2 * shorter <= room:
            assert kept[whole.index(shorter)] == shorter
        else:
            assert abs(kept[0] - kept[1]) <= 1
    else:
        assert kept == whole


def test_a_shortened_text_keeps_its_beginning(tiny):
    premise = "anna visited rome . " * 40
    short = encode(tiny.tokenizer, PAIR, premise, "anna", 32).ids[0]
    assert short[1:24].tolist() == tokens(tiny.tokenizer, premise)[:23]


def test_rows_are_encoded_alone_and_in_order(tiny):
    encoder = TextEncoder(tiny.tokenizer, 24)
    rows = [("anna " * 50, "rome"), ("rome", "a <MASK> b"), ("anna", "rome")]
    together = encoder.encode(template(QUESTION), rows)
    for number, row in enumerate(rows):
        alone = encoder.encode(template(QUESTION), [row])
        assert together.ids[number].tolist() == alone.ids[0].tolist()
        assert together.read_at[number] == alone.read_at[0]
        assert together.second_at[number] == alone.second_at[0]


def test_no_rows_give_an_empty_encoding(tiny):
    assert len(TextEncoder(tiny.tokenizer, 24).encode(template(SOFT), [], 4)) == 0


@pytest.mark.parametrize("text", SPECIAL)
def test_a_special_token_written_in_a_row_is_plain_text(tiny, text):
    for template_text in (PAIR, QUESTION):
        row = encode(tiny.tokenizer, template_text, f"anna {text} rome", text).ids[0]
        clean = encode(tiny.tokenizer, template_text, "anna rome", "anna").ids[0]
        special = sorted(set(tiny.tokenizer.all_special_ids) - {tiny.tokenizer.unk_token_id})
        assert row[np.isin(row, special)].tolist() == clean[np.isin(clean, special)].tolist()


def test_the_unknown_token_written_in_a_row_is_its_letters(tiny):
    row = encode(tiny.tokenizer, PAIR, "anna <unk> rome", "anna").ids[0]
    assert row.tolist() == encode(tiny.tokenizer, PAIR, "anna < unk> rome", "anna").ids[0].tolist()


@pytest.mark.skipif(not ME5.is_dir(), reason="needs the model folder shared/models/me5-small-mlm")
def test_a_special_token_written_in_a_row_is_plain_text_to_xlm_rs_own_normaliser():
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(ME5)
    for text in SPECIAL:
        row = encode(tokenizer, QUESTION, f"anna {text} rome", text).ids[0].tolist()
        assert [row.count(token) for token in (0, 1, 2)] == [1, 0, 3], text  # <s>, <pad>, </s>


def test_the_soft_template_is_p_dot_h_question_mark_vectors_mask_dot(tiny):
    row = encode(tiny.tokenizer, SOFT, "Anna visited Rome.", "Boris visited Moscow!?", vectors=4)
    words = tokens(tiny.tokenizer, "Anna visited Rome . Boris visited Moscow ?")
    mask = tiny.tokenizer.mask_token_id
    assert row.ids[0].tolist() == [0, *words, -1, -2, -3, -4, mask, *tokens(tiny.tokenizer, "."), 2]
    assert row.read_at[0] == len(words) + 5


@pytest.mark.parametrize(
    ("language", "question", "answer"),
    [("en", "question: Anna?", "Answer:"), ("fr", "question: Anna?", "réponse:"), ("zh", "问题: Anna?", "答案:"),
     ("ar", "سؤال: Anna؟", "الجواب:"), ("ur", "سوال: Anna؟", "جواب:"), ("vi", "câu hỏi: Anna?", "Trả lời:")],
)  # fmt: skip
def test_the_question_template_speaks_its_language(tiny, language, question, answer):
    row = encode(tiny.tokenizer, NLITask.templates["question"][language], "Boris.", "Anna").ids[0].tolist()
    asked = tokens(tiny.tokenizer, f"{question} {answer}")
    assert row == [0, *tokens(tiny.tokenizer, "Boris."), 2, 2, *asked, tiny.tokenizer.mask_token_id, 2]


def test_a_template_longer_than_the_input_is_an_error(tiny):
    with pytest.raises(XlbenchError, match="leaves no room for text in --max-length 16"):
        encode(tiny.tokenizer, SOFT, "anna " * 30, "rome", 16, vectors=12)


def test_a_mask_needs_a_tokenizer_with_a_mask(tiny):
    import copy

    bare = copy.deepcopy(tiny.tokenizer)
    bare.mask_token = None
    with pytest.raises(XlbenchError, match="no mask token"):
        encode(bare, SOFT, "anna", "rome", vectors=1)
    assert encode(bare, PAIR, "anna", "rome").read_at.tolist() == [0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{premise} {premis}", "{premis} is no field of the task; it has premise, hypothesis"),
        ("{premise}", "{hypothesis} must stand in the template once, not 0 times"),
        ("{premise} {premise.} {hypothesis}", "{premise} must stand in the template once, not 2 times"),
        ("{premise} <mask> {hypothesis} <mask>", "<mask> stands in the template 2 times, not once"),
        ("{premise}<sep>{hypothesis}<sep>", "<sep> stands in the template 2 times"),
        ("<prompt>{premise}{hypothesis}<prompt>", "<prompt> stands in the template 2 times"),
    ],
)
def test_a_malformed_template_says_what_is_wrong_and_where(text, words):
    with pytest.raises(XlbenchError) as fault:
        template(text)
    assert words in str(fault.value)
    assert "task t, template 'x', en" in str(fault.value)


@pytest.mark.parametrize(
    ("text", "left"),
    [("Anna.", "Anna"), ("Anna?! . ", "Anna"), ("你好。", "你好"), ("سؤال؟", "سؤال"), ("क्या।", "क्या"), ("a.b", "a.b"),
     ("...", "..."), (" ", " "), ("", ""), ("(Anna)", "(Anna"), ("5 %", "5"), ("5 €", "5 €"), ("Anna 😀", "Anna 😀")],
)  # fmt: skip
def test_closing_punctuation_goes_and_a_text_of_nothing_else_stays(text, left):
    assert without_closing_punctuation(text) == left


def test_joined_encodings_keep_order_and_are_labelled_only_where_all_are():
    one = Encoded([np.array([1, 2])], np.array([1]), np.array([2]), np.array([0]), np.array([2]))
    two = Encoded([np.array([3]), np.array([4, 5, 6])], np.array([0, 2]), np.array([1, 3]), np.array([4, 4]))
    joined = Encoded.join([one, two])
    assert [row.tolist() for row in joined.ids] == [[1, 2], [3], [4, 5, 6]]
    assert joined.lengths.tolist() == [2, 1, 3]
    assert joined.read_at.tolist() == [1, 0, 2]
    assert joined.language.tolist() == [0, 4, 4]
    assert joined.labels is None
    assert Encoded.join([one, one]).labels.tolist() == [2, 2]


# Verbalizer


def test_a_label_word_of_several_tokens_is_refused_with_its_pieces(tiny):
    pieces = tiny.tokenizer.tokenize("yesno")
    assert len(pieces) > 1
    with pytest.raises(XlbenchError) as fault:
        Verbalizer.of(tiny.tokenizer, ["yes", "yesno", "no"])
    assert "'yesno'" in str(fault.value)
    assert " + ".join(pieces) in str(fault.value)
    assert "multi_token=mean" in str(fault.value)


def test_mean_scores_the_mean_of_the_pieces_logits(tiny):
    pieces = tokens(tiny.tokenizer, "yesno")
    verbalizer = Verbalizer.of(tiny.tokenizer, ["yes", "yesno", "no"], "mean")
    torch.manual_seed(0)
    features, weight, bias = torch.randn(5, 7), torch.randn(len(tiny.tokenizer), 7), torch.randn(len(tiny.tokenizer))
    found = verbalizer.scores(features, weight, bias)
    logits = features @ weight.T + bias
    yes, no = tokens(tiny.tokenizer, "yes")[0], tokens(tiny.tokenizer, "no")[0]
    by_hand = torch.stack([logits[:, yes], sum(logits[:, piece] for piece in pieces) / len(pieces), logits[:, no]], 1)
    assert torch.allclose(found, by_hand, atol=1e-5)
    assert torch.allclose(
        verbalizer.scores(features, weight, None), verbalizer.scores(features, weight, 0 * bias), atol=1e-6
    )


def test_a_label_word_the_backbone_does_not_know_is_refused(tiny):
    with pytest.raises(XlbenchError, match="'ᚠ' is not in the backbone's vocabulary"):
        Verbalizer.of(tiny.tokenizer, ["yes", "ᚠ", "no"])
    with pytest.raises(XlbenchError, match="'' is not in the backbone's vocabulary"):
        Verbalizer.of(tiny.tokenizer, ["yes", "", "no"])


def test_two_labels_cannot_share_a_word(tiny):
    with pytest.raises(XlbenchError, match="two labels share one label word in yes, no, yes"):
        Verbalizer.of(tiny.tokenizer, ["yes", "no", "yes"])


@pytest.mark.skipif(not ME5.is_dir(), reason="needs the model folder shared/models/me5-small-mlm")
def test_a_label_word_is_the_piece_that_begins_a_word():
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(ME5)
    found = Verbalizer.of(tokenizer, ["yes", "maybe", "no"])
    assert [tokenizer.convert_ids_to_tokens(pieces[0]) for pieces in found.pieces] == ["▁yes", "▁maybe", "▁no"]


def test_label_words_follow_the_rows_language_where_asked(tiny, logic):
    from xlbench import registry

    soft: type[PromptMethod] = registry.get("method", "soft-prompt")
    source = soft(soft.Config(), tiny, logic, ("en", "fr"))
    target = soft(soft.Config(label_words="target"), tiny, logic, ("en", "fr"))
    assert source.verbalizer("fr").words == ("yes", "maybe", "no")
    assert target.verbalizer("fr").words == ("oui", "peut-être", "non")


# PromptEncoder


def test_the_prompt_encoder_is_embeddings_bilstm_and_two_layers():
    torch.manual_seed(0)
    encoder = PromptEncoder(3, 8)
    states, _ = encoder.lstm(encoder.embeddings[None])
    first, _, second = encoder.mlp
    by_hand = second(torch.relu(first(states[0])))
    assert encoder.lstm.bidirectional
    assert encoder.lstm.num_layers == 1
    assert states.shape == (1, 3, 16)
    assert torch.equal(encoder(), by_hand)
    assert encoder().shape == (3, 8)


def test_what_is_kept_on_disk_is_what_this_version_packs(tiny):
    """Where this fails, raise PACKING with it: ids that are kept on disk outlive the code that packed them."""
    encoder = TextEncoder(tiny.tokenizer, 128)
    rows = [("a man sleeps", "he is awake"), ("two dogs", "three dogs")]
    packed = [
        encoder._encode(template(text), rows, 0).packed()
        for text in ("{premise}<sep>{hypothesis}", "{premise} ? <mask> , {hypothesis}")
    ]
    digest = hashlib.sha256(b"".join(array.tobytes() for array in packed)).hexdigest()[:16]
    assert (PACKING, digest) == ("3", "238c68d09f0bebe5")
