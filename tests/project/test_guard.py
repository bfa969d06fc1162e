"""Nobody gets in: nothing is unpickled, evaluated or run by a shell; no socket is opened where folders are given."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_data import write_ntrex, write_xnli

from xlbench.backbone import TINY

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for name in ("xlbench", "methods", "tasks", "scripts") for path in (ROOT / name).rglob("*.py"))

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml"}
BY_NAME = {"eval", "exec", "compile", "__import__"}  # called bare
BY_PATH = {"torch.load", "os.system", "os.popen", "pickle.load", "pickle.loads", "yaml.load", "pd.read_pickle",
           "pandas.read_pickle", "builtins.eval", "builtins.exec"}  # fmt: skip
NOT_TRUE = {"allow_pickle", "trust_remote_code", "shell"}  # keywords that may only be False


def dotted(node: ast.expr) -> str:
    """A name, or an attribute's path."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def dangers(source: str) -> list[str]:
    """What of a source could run text or bytes that somebody else wrote."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found += sorted(names & BY_PATH) + ([node.module] if (node.module or "").split(".")[0] in MODULES else [])
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            found += [name] if name in BY_NAME | BY_PATH else []
            for keyword in node.keywords:
                safe = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                found += [keyword.arg] if keyword.arg in NOT_TRUE and not safe else []
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_runs_what_others_wrote(path):
    assert dangers(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    ["torch.load(f)", "import pickle", "from pickle import loads", "from torch import load",
     "np.load(f, allow_pickle=1)", "eval(text)", "exec(text)",
     "AutoModel.from_pretrained(x, trust_remote_code=asked)", "subprocess.run(x, shell=True)",
     "import yaml", "os.system(x)", "np.load(f, allow_pickle=True)", "builtins.eval(x)", "pd.read_pickle(f)"],
)  # fmt: skip
def test_each_danger_is_found(source):
    assert dangers(source)


@pytest.mark.parametrize(
    "source", ["module.eval()", "np.load(f, allow_pickle=False)", "re.compile(x)", "ast.literal_eval(x)", "'eval(x)'"]
)
def test_what_is_harmless_is_let_be(source):
    assert dangers(source) == []


WITHOUT_SOCKETS = """
import sys

def watch(event, arguments):
    # urllib3, when imported, binds a local socket to learn whether this machine has IPv6: it reaches nobody
    if event.startswith("socket.") and event not in {"socket.__new__", "socket.bind", "socket.gethostname"}:
        print("SOCKET", event, arguments, file=sys.stderr, flush=True)
        raise RuntimeError(f"a socket was used: {event}")
    if event == "socket.bind" and arguments[1][0] not in {"::1", "127.0.0.1", "localhost"}:
        raise RuntimeError("a socket was bound")

sys.addaudithook(watch)
from typer.testing import CliRunner
from xlbench.cli import commands as cli
from xlbench.spec import words as asking

short = {"test_units": 2, "training": {"steps": 1, "checkpoints": 1}, "languages": ["en", "fr"]}
full = cli.words.suite_of
one = {"draws": 1, "seeds": 1}
cli.words.suite_of = lambda name, axes, fields: full(name, {**axes, **one}, asking.merged(fields, short))
model, data = sys.argv[1:]
small = ("--languages", "en,fr", "--steps", "1", "--checkpoints", "1", "--model", model, "--device", "cpu")
xnli = ("--task", "xnli", "--data-root", data)
for words in (
    ("compare", "--methods", 'finetune,mpt(words="yes-no")', "--shots", "1", "--draws", "1", "--seeds", "1", *xnli,
     *small),
    ("leaderboard", "--out", "board"),
    ("plan", "--suite", "demo"),
    ("show", "pct", "--model", model, "--data-root", data, "--task", "xnli"),
    ("check", "finetune", "--data-root", data),
    ("demo", "--runs", "demo", "--device", "cpu", "--jobs", "1"),  # here, where sockets are watched
    ("cite",),
    ("export",),
):
    done = CliRunner().invoke(cli.app, list(words))
    assert done.exit_code == 0, (words, done.output, done.exception)
    print(words[0], "ended well", flush=True)
"""


@pytest.mark.slow
def test_with_a_data_root_and_a_model_folder_no_command_opens_a_socket(tmp_path):
    write_ntrex(write_xnli(tmp_path / "data"))
    online = {name: value for name, value in os.environ.items() if not name.endswith("_OFFLINE")}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SOCKETS, str(TINY), str(tmp_path / "data")],
        cwd=tmp_path, env={**online, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SOCKET" not in done.stderr
    assert done.stdout.count("ended well") == 8
