"""Equal tuning: what is searched, how configurations are drawn, which is chosen, and what the record says of it."""

import json
import weakref
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from hand_made import IDENTITY, group, record
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data import plugin, registry_as_it_was
from torch import nn
from typer.testing import CliRunner

import xlbench
from xlbench import RunSpec, Runtime, Store, Training, XlbenchError, registry
from xlbench.analysis.matching import matched_key
from xlbench.analysis.outlook import outlook
from xlbench.board.markdown import write
from xlbench.board.results import results
from xlbench.cli import app
from xlbench.cli.plugins.check import check
from xlbench.comparison.compare import run_suite
from xlbench.engine import tuning as trials
from xlbench.engine.prepare import prepare
from xlbench.engine.session import Session
from xlbench.engine.train import Fitted
from xlbench.engine.tuning import Configuration, Trained, best_of, configurations, outside_space, search_space
from xlbench.errors import Diverged
from xlbench.host.progress import Progress
from xlbench.problem import problem_of
from xlbench.records.vetting import vet
from xlbench.spec import ResolvedSpec, ResolvedTraining, Suite, digest
from xlbench.spec.words import tuning

RECORDS = Path(__file__).parents[2] / "leaderboard" / "2026-11-first" / "records"
CPU = torch.device("cpu")


pytestmark = pytest.mark.usefixtures("own_registry")


def spec(method: str = "soft-prompt", **fields) -> RunSpec:
    training = {"steps": 4, "learning_rate": 1e-3, "checkpoints": 2, "batch_size": 4, **fields.pop("training", {})}
    common = {"task": "logic", "model": "tiny", "shots": 3, "languages": ("en", "fr"), "test_units": 5}
    return RunSpec(method=method, training=Training(**training), **{**common, **fields})


def outside(method: str, recommended: float = 1e-3, **fields) -> list[str]:
    asked = ResolvedSpec.model_validate(spec(method, **fields).model_dump())
    return outside_space(asked, registry.get("method", method).Config(**asked.config), recommended)


def test_a_rate_or_setting_outside_of_what_is_searched_is_said():
    assert outside("soft-prompt") == []
    assert outside("soft-prompt", training={"learning_rate": 5e-3}) == []  # five times the backbone's own
    assert outside("soft-prompt", training={"learning_rate": 6e-3, "fresh_learning_rate": 1e-5}) == [
        "learning_rate 0.006 is outside of 0.0005 to 0.005, in which it is searched",
        "fresh_learning_rate 1e-05 is outside of 0.0001 to 0.003, in which it is searched",
    ]
    assert outside("mpt", config={"alpha": 0.5, "prompt_length": 8, "translator_start": "identity"}) == []
    assert outside("mpt", config={"alpha": 5.0}) == ["alpha 5 is outside of 0.1 to 1, in which it is searched"]


def test_a_comparison_says_which_methods_run_outside_of_it(tmp_path):
    suite = Suite(
        name="s", methods=["soft-prompt", {"method": "mpt", "config": {"alpha": 5.0}}], shots=[2], draws=1,
        run={"task": "logic", "model": "tiny", "languages": ["en", "fr"], "test_units": 2, "selection": "last",
             "training": {"steps": 1, "checkpoints": 1}},
    )  # fmt: skip
    told: list[str] = []
    progress = Progress()
    progress.say = told.append  # type: ignore[method-assign]
    run_suite(suite, Runtime(runs=tmp_path, device="cpu", jobs=1), progress)
    said = [line for line in told if "in which it is searched" in line]
    assert said == [
        "mpt: alpha 5 is outside of 0.1 to 1, in which it is searched; --tune N chooses among those by source dev"
    ]


def drawn(asked: RunSpec) -> list[tuple[tuple[float, float], dict]]:
    """Learning rates and searched settings of what a spec tries."""
    asked = ResolvedSpec.model_validate(asked.model_dump())
    config = registry.get("method", asked.method).Config(**asked.config)
    found = configurations(asked, config)
    for one in found:
        rates = {name: getattr(one.training, name) for name in ("learning_rate", "fresh_learning_rate")}
        assert one.searched["training"] == rates
        assert all(getattr(one.config, name) == value for name, value in one.searched["config"].items())
        assert one.training == asked.training.model_copy(update=rates)
    return [(tuple(one.searched["training"].values()), dict(one.searched["config"])) for one in found]


# What was there before keeps its name


def test_every_record_of_the_leaderboard_is_still_read_under_its_id_with_its_scores():
    """Records of schema 1, written before `trials` was a field."""
    store = Store(RECORDS)
    kept = {one.id: one for one in store.records()}
    written = {file.parent.name: json.loads(file.read_text()) for file in RECORDS.glob("*/record.json")}
    assert kept.keys() == written.keys() != set()
    for id_, fields in written.items():
        one = kept[id_]
        assert (one.by_language, one.spec.trials) == (fields["accuracy"], fields["spec"].get("trials", 1))
        assert list(problem_of(one.problem).labels) == fields["labels"]
        assert one.test["units"] == fields["test"]["premises"]
    vetted = vet(store)
    assert vetted.left_out == ()
    assert {result.record.id for result in vetted.results} == kept.keys()


def test_the_id_of_one_configuration_says_nothing_of_trials_and_tables_are_told_apart_by_them():
    asked = RunSpec(
        method="mpt", task="logic", model="tiny", shots=4, languages=("en", "fr"), config={"alpha": 0.3},
        training={"steps": 2, "learning_rate": 1e-3},
    )  # fmt: skip
    assert digest({"spec": asked.identity, **IDENTITY})[:12] == "75fe43f17294"
    assert RunSpec.model_validate(asked.model_dump()) == RunSpec.model_validate(asked.identity) == asked
    assert asked.with_(trials=1).identity == asked.identity
    assert asked.with_(trials=2).identity == {**asked.identity, "trials": 2}
    assert matched_key(record("mpt", spec={"trials": 2})) == {**matched_key(record("mpt")), "trials": 2}
    assert matched_key(record("mpt")) == matched_key(record("finetune", spec={"trials": 1}))


def test_what_a_method_declares_to_search_is_part_of_the_id_of_a_search_alone(tmp_path):
    config = "    class Config(MethodConfig):\n        rate: float = Field(1.0, description='r')\n{}\n    @classmethod"
    imports = "from pydantic import Field\nfrom xlbench.method import Method, MethodConfig"
    spaces = (
        "",
        "        search = {'rate': [0.5, 1.0]}\n",
        "        search = {\n            'rate': [0.5, 2.0],\n        }\n",
    )
    ids = []
    for number, space in enumerate(spaces):
        file = plugin(
            tmp_path / str(number) / "mine.py", "mine",
            ("from xlbench.method import Method", imports), ("    @classmethod", config.format(space)),
        )  # fmt: skip
        with registry_as_it_was():
            registry.load_plugin(str(file))
            ids.append([prepare(spec("mine", trials=count), Runtime(device="cpu")).id for count in (1, 2, 3)])
    one, two, three = zip(*ids, strict=True)
    assert len(set(one)) == 1
    assert len({*one, *two, *three}) == 7


# The space


@pytest.mark.parametrize("name", registry.names("method"))
def test_every_shipped_method_declares_a_space_with_its_defaults_in_it(name):
    config = registry.get("method", name).Config
    space = search_space(name, config)
    assert space or name == "discrete-prompt"  # rates alone: source dev cannot tell its other settings apart
    for setting, values in space.items():
        assert getattr(config(), setting) in values
        assert len(values) > 1


methods = st.sampled_from(["finetune", "soft-prompt", "pct", "mpt"])


@given(methods, st.integers(2, 16), st.integers(0, 5), st.integers(0, 5), st.integers(1, 256))
@settings(max_examples=30, deadline=None)
def test_configurations_are_different_the_given_one_first_and_more_trials_only_add(method, count, draw, seed, shots):
    asked = spec(method, trials=count, draw=draw, seed=seed, shots=shots)
    found = drawn(asked)
    defaults = registry.get("method", method).Config()
    space = search_space(method, type(defaults))
    assert found[0] == ((1e-3, 1e-3), {name: getattr(defaults, name) for name in space})
    assert len(found) == count
    assert all(found.count(one) == 1 for one in found)
    for rates, values in found[1:]:
        for rate, factors in zip(rates, trials.RATES.values(), strict=True):
            assert rate in [1e-3 * times for times in factors]
        assert all(value in space[name] for name, value in values.items())
        assert set(values) == set(space)
    if count < 16:
        assert drawn(asked.with_(trials=count + 1))[:count] == found


def test_the_draw_depends_on_method_shots_draw_and_seed_alone():
    asked = spec("mpt", trials=6)
    assert drawn(asked) == drawn(asked)
    for same in ({"languages": ("en", "sw")}, {"test_units": 9}, {"tune": "lora"}, {"selection": "last"}):
        assert drawn(asked.with_(**same)) == drawn(asked)
    for other in ({"shots": 4}, {"draw": 1}, {"seed": 1}):
        assert drawn(asked.with_(**other)) != drawn(asked)


def test_every_configuration_is_tried_where_as_many_are_asked_for():
    assert len(drawn(spec("finetune", trials=64))) == 64  # 4 by 4 rates times 4 of dropout


def test_what_is_set_is_not_searched_at_its_default_either():
    for value in (0.3, 0.5):
        asked = spec("mpt", trials=12, config={"alpha": value})
        assert all("alpha" not in values for _, values in drawn(asked))
        resolved = prepare(asked, Runtime(device="cpu"))
        assert resolved.spec.config == {"alpha": value}
        assert {one.config.alpha for one in resolved.configurations} == {value}
    assert prepare(spec("mpt", config={"alpha": 0.5}), Runtime(device="cpu")).spec.config == {}


def test_a_setting_outside_the_space_is_a_configuration_more():
    class Config(registry.get("method", "finetune").Config):
        search = {"head_dropout": (0.2, 0.3, 0.2)}  # noqa: RUF012

    found = configurations(spec("finetune", trials=33), Config())
    assert [one.config.head_dropout for one in found].count(0.1) == 1
    with pytest.raises(XlbenchError, match="has 33 configurations to try, not 34"):
        configurations(spec("finetune", trials=34), Config())


def test_too_small_a_space_is_said_before_anything_runs(runtime):
    with pytest.raises(XlbenchError) as fault:
        xlbench.run(spec("finetune", trials=65), runtime)
    assert str(fault.value) == (
        "method finetune has 64 configurations to try, not 65 (4 of learning_rate, 4 of fresh_learning_rate, 4 of "
        "head_dropout); use --tune 64 or less for all methods, or declare more values in its Config's search"
    )
    with pytest.raises(XlbenchError, match=r"has 16 configurations to try, not 17 \(4 of learning_rate, 4 of f"):
        xlbench.run(spec("finetune", trials=17, config={"head_dropout": 0.1}), runtime)
    assert not runtime.runs.exists()


@pytest.mark.parametrize(
    ("search", "sentence"),
    [
        (
            {"head_dropot": (0.1,)},
            "unknown setting 'head_dropot' for the search space of method finetune; did you mean",
        ),
        ({"head_dropout": (0.1, 2.0)}, "the search space of method finetune: head_dropout = 2.0: input should be less"),
        ({"head_dropout": ()}, "head_dropout = (): must be a list of one or more values"),
        ({"head_dropout": "0.1"}, "head_dropout = '0.1': must be a list of one or more values"),
        ({"head_dropout": 0.1}, "head_dropout = 0.1: must be a list of one or more values"),
        ([0.1], "the search space of method finetune is [0.1]: must be a mapping"),
    ],
    ids=str,
)
def test_a_mistaken_space_fails_the_check_and_is_refused_in_a_search_only(monkeypatch, search, sentence):
    monkeypatch.setattr(registry.get("method", "finetune").Config, "search", search)
    (finding,) = [one for one in check("finetune") if not one.ok]
    assert finding.point == "its search space names settings and values that they take"
    assert sentence in finding.why
    with pytest.raises(XlbenchError) as fault:
        prepare(spec("finetune", trials=2), Runtime(device="cpu"))
    assert sentence in str(fault.value)
    assert prepare(spec("finetune"), Runtime(device="cpu")).id


# The choice


def chosen(*dev: tuple[float, float] | None, by_loss: bool = False):
    """The choice among trials with such dev results; None diverges. Beside it, the modules alive at each start."""
    script, alive, seen = iter(dev), [], []

    def train(configuration: Configuration) -> Trained:
        alive.append(sum(one() is not None for one in seen))
        result = next(script)
        if result is None:
            raise Diverged("the loss is nan")
        module = nn.Linear(2, 2)
        module(torch.ones(2)).sum().backward()
        seen.append(weakref.ref(module))
        method = type("Trivial", (), {"backbone": nn.Identity()})()
        return Trained(configuration, method, module, Fitted(1, 1, 1, 1.0, []), lambda: result, {})

    training = ResolvedTraining(learning_rate=1e-3)
    asked = [Configuration(None, training, {"config": {"number": number}}) for number in range(len(dev))]
    return best_of(asked, train, Session(CPU), by_loss), alive


def test_of_few_shots_the_loss_on_dev_decides():
    dev = [(0.5, 0.1), (0.7, 2.0), (0.6, 0.1)]
    assert chosen(*dev, by_loss=True)[0].number == 2  # a tie of losses: the better accuracy
    assert [RunSpec(method="mpt", shots=shots).few for shots in (1, 16, 17, "all")] == [True, True, False, False]


@pytest.mark.parametrize(
    ("dev", "number"),
    [
        ([(0.5, 0.1), (0.7, 2.0), (0.6, 0.1)], 1),  # the best accuracy, whatever the loss
        ([(0.7, 1.0), (0.7, 0.9), (0.6, 0.1)], 1),  # a tie: the lower loss
        ([(0.7, 0.9), (0.7, 1.0), (0.7, 0.9)], 0),  # a tie in both: the earlier
        ([None, (0.1, 1.0), (0.2, 1.0)], 2),
        ([(0.3, 1.0), None, None], 0),
    ],
)
def test_source_dev_decides(dev, number):
    choice, _ = chosen(*dev)
    assert choice.number == number
    assert choice.trained.configuration.searched["config"] == {"number": number}
    assert [trial.get("lost") for trial in choice.trials] == ["the loss is nan" if one is None else None for one in dev]
    assert [(trial["dev_score"], trial["dev_loss"]) for trial in choice.trials if "lost" not in trial] == [
        one for one in dev if one is not None
    ]
    assert choice.selection == {"chosen": number, "trials": list(choice.trials)}
    assert len(choice.notes) == dev.count(None)


def test_one_configuration_is_no_search():
    choice, _ = chosen((0.5, 1.0))
    assert (choice.number, choice.selection, choice.costs, choice.notes) == (0, {}, {}, [])
    with pytest.raises(Diverged, match=r"^the loss is nan$"):
        chosen(None)


def test_all_lost_is_a_failure():
    with pytest.raises(Diverged, match="all 2 configurations were lost; the first: the loss is nan"):
        chosen(None, None)


def test_only_the_best_so_far_is_kept_and_no_gradients():
    choice, alive = chosen((0.5, 1.0), (0.6, 1.0), (0.4, 1.0), (0.7, 1.0), (0.1, 1.0))
    assert alive == [0, 1, 1, 1, 1]
    assert all(value.grad is None for value in choice.trained.module.parameters())


# A run


def without_time(found: list[dict]) -> list[dict]:
    return [{name: value for name, value in trial.items() if name != "seconds"} for trial in found]


@pytest.mark.parametrize(
    ("method", "selection"), [("mpt", "source-dev"), ("pct", "last"), ("finetune", "average-last")]
)
def test_each_trial_is_what_its_configuration_gives_alone_to_the_bit(runtime, method, selection):
    asked = spec(method, selection=selection)
    tuned = xlbench.run(asked.with_(trials=3), runtime)
    assert tuned.spec.trials == 3
    assert len(tuned.trials) == 3
    best = min(tuned.trials, key=lambda trial: (trial["dev_loss"], -trial["dev_score"]))  # 3 shots are few
    assert tuned.chosen == best
    alone = xlbench.run(
        asked.with_(config=best["config"], training={**asked.training.model_dump(), **best["training"]}), runtime
    )
    assert alone.trials == []
    assert Store(runtime.runs).predictions(tuned.id).equals(Store(runtime.runs).predictions(alone.id))
    assert tuned.selection["history"] == alone.selection["history"]
    assert tuned.method_config == alone.method_config
    assert tuned.costs["trainable_parameters"] == alone.costs["trainable_parameters"]
    first = xlbench.run(asked, runtime)
    assert tuned.trials[0]["step"] == first.selection["step"]
    if selection == "source-dev":
        (seen,) = [entry for entry in first.selection["history"] if entry["step"] == first.selection["step"]]
        assert [seen[name] for name in ("dev_score", "dev_loss")] == [
            tuned.trials[0][name] for name in ("dev_score", "dev_loss")
        ]


def test_the_same_seed_gives_the_same_search(tmp_path):
    found = [xlbench.run(spec(trials=3), Runtime(runs=tmp_path / name, device="cpu")) for name in ("one", "again")]
    assert found[0].id == found[1].id
    assert without_time(found[0].trials) == without_time(found[1].trials)
    tables = [Store(tmp_path / name).predictions(found[0].id) for name in ("one", "again")]
    assert tables[0].equals(tables[1])


def test_the_choice_never_sees_a_target_language(runtime):
    """Fine-tuning reads no parallel text, so nothing of a search can depend on what it is tested on."""
    found = [xlbench.run(spec("finetune", trials=3, languages=("en", *more)), runtime) for more in ((), ("fr", "sw"))]
    assert without_time(found[0].trials) == without_time(found[1].trials)
    assert found[0].selection["chosen"] == found[1].selection["chosen"]


def test_training_seconds_are_of_all_trials_and_the_chosen_one_s_stand_apart(runtime):
    kept = xlbench.run(spec(trials=3), runtime)
    assert kept.costs["training_seconds"] == pytest.approx(sum(trial["seconds"] for trial in kept.trials), abs=0.01)
    assert kept.costs["chosen_training_seconds"] == kept.chosen["seconds"]
    assert "chosen_training_seconds" not in xlbench.run(spec(), runtime).costs


def test_a_trial_that_diverges_is_lost_and_noted(runtime, monkeypatch):
    monkeypatch.setattr(trials, "RATES", {"learning_rate": (1.0, 1e30)})
    kept = xlbench.run(spec("finetune", trials=2, config={"head_dropout": 0.1}), runtime)
    assert kept.status == "finished"
    assert kept.selection["chosen"] == 0
    assert "the loss is nan at step" in kept.trials[1]["lost"]
    assert "dev_score" not in kept.trials[1]
    (lost,) = [note for note in kept.notes if not note.startswith("Known leak")]
    assert lost.startswith("trial 1 (learning_rate=1e+27) is lost: method finetune: the loss is nan at step")


def test_a_search_that_loses_all_leaves_a_failed_record(runtime):
    with pytest.raises(XlbenchError, match="all 2 configurations were lost; the first: method finetune: the loss is"):
        xlbench.run(spec("finetune", trials=2, training={"learning_rate": 1e30}), runtime)
    (kept,) = Store(runtime.runs).records()
    assert kept.status == "failed"
    assert "all 2 configurations were lost" in kept.error


# What was asked for


def test_the_oracle_takes_one_configuration():
    with pytest.raises(ValueError, match="are chosen among by source dev alone, and selection oracle-target-dev"):
        RunSpec(method="mpt", shots=4, trials=2, selection="oracle-target-dev")
    assert RunSpec(method="mpt", shots=4, trials=1, selection="oracle-target-dev").trials == 1


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ([], {}), (["lora"], {"tune": "lora"}), (["4"], {"trials": 4}), (["1"], {"trials": 1}),
        (["lora", "4"], {"tune": "lora", "trials": 4}), (["16", "all"], {"tune": "all", "trials": 16}),
    ],
)  # fmt: skip
def test_tune_takes_a_word_a_number_or_both(values, fields):
    assert tuning(values) == fields


@pytest.mark.parametrize(
    "values", [["some"], ["0"], ["-1"], ["1.5"], ["٣"], [""], ["4", "8"], ["all", "lora"], ["lora,4"]]
)
def test_any_other_tuning_is_one_sentence_that_names_both_uses(values):
    with pytest.raises(XlbenchError) as fault:
        tuning(values)
    said = str(fault.value)
    assert "(all, lora or frozen)" in said
    assert "a number of configurations to try of each method (1 or more)" in said
    assert said.endswith(f"not {' and '.join(values)!r}")


def test_tune_on_the_command_line_reaches_every_cell(runtime):
    arguments = [
        "compare", "--methods", "finetune,soft-prompt", "--shots", "2", "--draws", "1", "--seeds", "1", "--task",
        "logic", "--model", "tiny", "--languages", "en,fr", "--test-units", "4", "--steps", "2", "--tune", "2",
        "--tune", "lora", "--runs", str(runtime.runs), "--device", "cpu", "--quiet", "--selection", "source-dev",
    ]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "2 configurations tried of each method, chosen by source dev." in done.stdout
    kept = list(Store(runtime.runs).records())
    assert [(one.spec.tune, one.spec.trials, len(one.trials)) for one in kept] == [("lora", 2, 2)] * 2
    shown = CliRunner().invoke(app, ["show", kept[0].id, "--runs", str(runtime.runs)]).stdout
    assert "trials, chosen by source dev" in shown
    assert f"{kept[0].selection['chosen']} (chosen)" in shown
    assert f"{kept[0].trials[1]['dev_loss']:.4f}" in shown


def test_a_method_says_what_is_searched():
    shown = CliRunner().invoke(app, ["show", "soft-prompt"]).stdout
    assert "  learning_rate: 0.5, 1, 2, 5 times the one asked for, as for every method\n" in shown
    assert "  fresh_learning_rate: 0.1, 0.3, 1, 3 times the one asked for, as for every method\n" in shown
    assert "  prompt_length: 1, 2, 4, 8\n" in shown


# The board


def tuned(method: str, draw: int = 0, chosen: int = 1, **fields):
    found = [
        {"training": {"learning_rate": rate}, "config": {"alpha": alpha}, "dev_score": dev, "seconds": 1.0}
        for rate, alpha, dev in ((1e-3, 0.5, 0.5), (2e-5, 1.0, 0.75))
    ]
    asked = {"trials": 2, "draw": draw}
    return record(method, spec=asked, selection={"chosen": chosen, "trials": found}, **fields)


def board(tmp_path, *records) -> str:
    store = Store(tmp_path / "runs")
    for one in records:
        store.write(one, pa.table({"row_id": ["a"]}))
    return write(group(store), tmp_path / "board").read_text(encoding="utf-8")


def test_records_with_different_trials_share_no_table():
    one, several, more = record("finetune"), tuned("mpt"), record("pct", spec={"trials": 3})
    assert len(group([one, several, more])) == 3
    assert len(group([several, tuned("finetune")])) == 1


def test_the_board_shows_the_number_of_trials_and_the_chosen_values(tmp_path):
    text = board(tmp_path, tuned("mpt"), tuned("mpt", draw=1, chosen=0), tuned("finetune"), tuned("finetune", draw=1))
    assert "; 2 configurations tried of each method, chosen by source dev; " in text
    rows = text[text.index("| chosen settings |") :].split("\n\n")[0].splitlines()
    assert rows[0] == "| chosen settings | draw | seed | source dev | values |"
    assert rows[2:] == [
        "| finetune | 0 | 0 | 75.0 | learning\\_rate=2e-05, alpha=1 |",
        "| finetune | 1 | 0 | 75.0 | learning\\_rate=2e-05, alpha=1 |",
        "| mpt | 0 | 0 | 75.0 | learning\\_rate=2e-05, alpha=1 |",
        "| mpt | 1 | 0 | 50.0 | learning\\_rate=0.001, alpha=0.5 |",
    ]


def test_a_record_that_lacks_its_trials_shows_a_dash(tmp_path):
    assert "| mpt | 0 | 0 | – | – |" in board(tmp_path, record("mpt", spec={"trials": 2}))


def test_a_board_of_untuned_records_says_nothing_of_trials(tmp_path):
    text = board(tmp_path, record("mpt"))
    assert "configurations" not in text
    assert "chosen settings" not in text


def test_results_tell_tuned_runs_from_others():
    table = results([record("mpt"), tuned("mpt")])
    assert sorted(table.trials.unique()) == [1, 2]


def test_a_plan_s_hours_are_of_runs_with_as_many_trials(tmp_path):
    Store(tmp_path).write(record("mpt"))
    fields = {"task": "logic", "model": "tiny", "test_units": 4}
    suites = [Suite(methods=("mpt",), shots=(4,), draws=3, run={**fields, "trials": count}) for count in (1, 2)]
    one, two = (outlook(suite, Store(tmp_path))[0].seconds for suite in suites)
    assert one > 0
    assert two is None
