"""The command that makes a board's records again, parsed back by the command line itself."""

import shlex
from itertools import product
from unittest.mock import patch

import pytest
from hand_made import group, record, sound
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from xlbench import RunSpec, Store, XlbenchError
from xlbench.board.markdown import write
from xlbench.board.page import write_page
from xlbench.board.reproduce import commands
from xlbench.cli import commands as cli
from xlbench.host.plain_text import listed
from xlbench.spec import Suite, digest
from xlbench.spec.words import method_choices

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
SETTINGS = st.dictionaries(
    st.from_regex(r"[a-z][a-z_]{0,5}", fullmatch=True),
    st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    max_size=3,
)
NAMES = st.sampled_from(["finetune", "soft-prompt", "mpt"])
SHARES = st.floats(0, 0.99)
SHARED = st.fixed_dictionaries(
    {"task": st.sampled_from(["xnli", "logic"]), "model": st.sampled_from(["tiny", "xlm-roberta-base", "a folder's"])},
    optional={
        "languages": st.lists(st.sampled_from(["en", "fr", "sw", "zh-hant"]), min_size=1, unique=True),
        "test_units": st.integers(1, 2000),
        "tune": st.sampled_from(["all", "lora", "frozen"]),
        "lora": st.fixed_dictionaries({}, optional={"rank": st.integers(1, 64), "alpha": st.floats(0.1, 99)}),
        "max_length": st.integers(16, 512),
        "precision": st.sampled_from(["auto", "fp32", "bf16"]),
        "selection": st.sampled_from(["source-dev", "last", "average-last", "oracle-target-dev"]),
        "training": st.fixed_dictionaries(
            {},
            optional={
                "learning_rate": st.floats(1e-9, 1), "weight_decay": SHARES, "steps": st.integers(1, 10**6),
                "epochs": st.integers(1, 99), "batch_size": st.integers(1, 99), "warmup": SHARES,
                "clip": st.floats(0.1, 9), "checkpoints": st.integers(1, 99), "average_last": st.integers(1, 9),
            },
        ),
    },
)  # fmt: skip


def asked(command: str) -> Suite:
    """The suite that the command line makes of a command."""
    program, *words = shlex.split(command)
    assert program == "xlbench"
    with patch.object(cli, "_compare") as compare:
        done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0, done.output
    return compare.call_args.args[0]


def cells(command: str) -> dict[str, RunSpec]:
    return {digest(spec.model_dump(mode="json")): spec for spec in asked(command).cells()}


def kept_specs(records: list) -> dict[str, RunSpec]:
    """What records say they were asked for, by digest."""
    return {
        digest(kept.spec.model_dump(mode="json")): RunSpec.model_validate(kept.spec.model_dump()) for kept in records
    }


def made(specs: list[RunSpec]) -> list:
    return [record(spec.method, spec=spec.model_dump(), accuracy={"en": 0.5}) for spec in specs]


@settings(max_examples=60, deadline=None)
@given(
    shared=SHARED,
    methods=st.lists(st.tuples(NAMES, SETTINGS), min_size=1, max_size=3, unique_by=lambda one: digest(list(one))),
    shots=st.lists(st.integers(1, 256), min_size=1, max_size=3, unique=True),
    draws=st.integers(1, 3),
    seeds=st.integers(1, 2),
)
@example({"task": "xnli", "model": "$(rm -rf x); `y`"}, [("mpt", {"word": "a,b)(\"\\'=\x7f\n"})], [4], 1, 1)
@example({"task": "xnli", "model": "m"}, [("mpt", {"a": "1"}), ("mpt", {"a": 1}), ("mpt", {"a": 1.0})], [4], 1, 1)
def test_a_grid_comes_back_whole_through_the_shell_and_the_command_line(shared, methods, shots, draws, seeds):
    specs = [
        RunSpec(method=name, config=config, shots=shot, draw=draw, seed=seed, **shared)
        for (name, config), shot, draw, seed in product(methods, shots, range(draws), range(seeds))
    ]
    records = made(specs)
    (found,) = commands(records)
    assert found.more == 0
    assert cells(found.text) == kept_specs(records)


@settings(max_examples=30, deadline=None)
@given(kept=st.sets(st.tuples(NAMES, st.sampled_from([4, 16]), st.integers(0, 2), st.integers(0, 1)), min_size=1))
def test_records_with_gaps_are_among_the_command_s_runs_and_the_rest_is_counted(kept):
    specs = [RunSpec(method=name, shots=shots, draw=draw, seed=seed) for name, shots, draw, seed in sorted(kept)]
    records = made(specs)
    (found,) = commands(records)
    again = cells(found.text)
    assert kept_specs(records).keys() <= again.keys()
    assert found.more == len(again) - len(specs)


def test_a_hub_model_s_commit_is_asked_for_and_a_folder_s_digest_is_not():
    commit = "0123456789abcdef0123456789abcdef01234567"
    (pinned,) = commands([record(identity={"revision": commit})])
    assert asked(pinned.text).run["revision"] == commit
    (folder,) = commands([record(identity={"revision": "sha256:0123456789abcdef"})])
    assert "revision" not in asked(folder.text).run


def parallel(corpus: str, size: int = 1000) -> dict[str, dict]:
    """The field of a run that asks for parallel text."""
    return {"resources": {"parallel": {"corpus": corpus, "size": size}}}


def test_methods_that_read_no_corpus_are_asked_for_along_with_those_that_do():
    (found,) = commands([record("finetune"), record("mpt", spec=parallel("paws-x", 50))])
    suite = asked(found.text)
    assert [choice.method for choice in suite.methods] == ["finetune", "mpt"]
    assert {cell.method: cell.resources for cell in suite.cells()} == dict.fromkeys(
        ("finetune", "mpt"), parallel("paws-x", 50)["resources"]
    )


def test_each_parallel_corpus_takes_a_command():
    found = commands([record("mpt", spec=parallel(name)) for name in ("paws-x", "ntrex-128")] + [record("finetune")])
    assert [[cell.resources["parallel"]["corpus"] for cell in cells(one.text).values()] for one in found] == [
        ["ntrex-128"] * 2, ["paws-x"],
    ]  # fmt: skip
    assert [[choice.method for choice in asked(one.text).methods] for one in found] == [["finetune", "mpt"], ["mpt"]]


@pytest.mark.parametrize("spec", [{"config": {"alpha": None}}, {"languages": ["en,fr"]}])
def test_what_no_command_line_can_say_is_refused(spec):
    with pytest.raises(XlbenchError, match=r"cannot be (given|named) on a command line; ask"):
        commands([record("mpt", spec=spec)])


def test_a_method_whose_name_is_no_name_is_refused():
    with pytest.raises(XlbenchError, match="cannot be named on a command line"):
        commands([record("a,b")])


def test_both_boards_show_the_command_and_what_it_adds(tmp_path):
    store = Store(tmp_path / "runs")
    for one in (record("finetune"), record("finetune", spec={"draw": 1}, commit="abc1234"), record("mpt")):
        store.write(one, sound(one))
    groups = group(store)
    (found,) = commands(groups[0].records)
    assert found.more == 1
    text = write(groups, tmp_path).read_text(encoding="utf-8")
    assert f"\n\n    {found.text}\n" in text
    assert "These runs are computed again by what follows, at commit abc1234; add --data-root DIR" in text
    assert "It asks for the whole grid, 1 run more than stand above." in text
    page = write_page(groups, tmp_path, "").read_text(encoding="utf-8")
    assert f'<pre tabindex="0"><code>{found.text}</code></pre>' in page


# Lists on the command line


def test_commas_in_brackets_and_quotes_separate_nothing():
    assert listed(' a, b(c=1, d="x,)"),e ') == ["a", 'b(c=1, d="x,)")', "e"]
    assert method_choices('finetune, mpt(alpha=0.3, word="a,b")') == [
        {"method": "finetune", "config": {}}, {"method": "mpt", "config": {"alpha": 0.3, "word": "a,b"}},
    ]  # fmt: skip


@pytest.mark.parametrize("words", ["mpt(alpha=1", "mpt(alpha=1)x", "mpt(alpha)"])
def test_a_mistake_in_the_methods_is_one_sentence(words):
    done = CliRunner().invoke(cli.app, ["compare", "--methods", words])
    assert done.exit_code == 2
    assert done.output.startswith("error: --methods takes ")
    assert done.output.count("\n") == 1


def test_any_field_of_a_run_can_be_given_beside_a_suite_too():
    suite = asked("xlbench compare --suite demo --with training.clip=0.5 --with lora.rank=4 --steps 3")
    assert suite.run["training"] == {"steps": 3, "batch_size": 16, "checkpoints": 6, "clip": 0.5}
    assert suite.run["lora"] == {"rank": 4}
    done = CliRunner().invoke(cli.app, ["compare", "--methods", "finetune", "--with", "training.clips=1"])
    assert done.exit_code == 2
    assert "unknown field" in done.output


def test_all_rows_and_batches_in_parts_are_asked_for_again():
    """With the numbers of shots in the board's order: all rows come last."""
    training = {"accumulate": 2, "learning_rate": 0.1, "epochs": 1}
    specs = [RunSpec(method="mpt", task="logic", model="tiny", shots=shots, training=training) for shots in ("all", 4)]
    records = made(specs)
    (found,) = commands(records)
    assert "--shots 4,all" in found.text
    assert found.more == 0
    assert cells(found.text) == kept_specs(records)
