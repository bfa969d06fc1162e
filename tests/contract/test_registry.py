"""The registries: what is found, what is refused, and what plug-ins that do not work say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_data import plugin

from xlbench import XlbenchError, register_method, register_task, registry

pytestmark = pytest.mark.usefixtures("own_registry")


def test_built_ins_are_found():
    assert {"finetune", "soft-prompt", "pct", "mpt"} <= set(registry.names("method"))
    assert {"xnli", "logic"} <= set(registry.names("task"))


def test_entries_say_what_and_where():
    for kind in ("method", "task"):
        for entry in registry.entries(kind):
            assert entry.summary
            file, _, line = entry.place.rpartition(":")
            assert file.endswith(".py")
            assert int(line) > 0


def test_get_gives_the_class_under_its_name():
    assert registry.get("method", "finetune").name == "finetune"
    assert registry.get("task", "logic").name == "logic"


@pytest.mark.parametrize(("kind", "wrong", "right"), [("method", "finetun", "finetune"), ("task", "xnil", "xnli")])
def test_unknown_name_gets_a_near_miss_and_the_list(kind, wrong, right):
    with pytest.raises(XlbenchError) as fault:
        registry.get(kind, wrong)
    assert f"unknown {kind} '{wrong}'" in str(fault.value)
    assert f"did you mean '{right}'?" in str(fault.value)
    assert all(name in str(fault.value) for name in registry.names(kind))


def test_unknown_name_with_no_near_miss_still_gets_the_list():
    with pytest.raises(XlbenchError, match=r"known: .*finetune") as fault:
        registry.find("method", "qqqqqq")
    assert "did you mean" not in str(fault.value)


# Duplicates


def test_a_plugin_with_a_built_in_s_name_is_refused_naming_both_places(tmp_path):
    file = plugin(tmp_path / "mine" / "taken.py", "finetune")
    with pytest.raises(XlbenchError, match="'finetune' is registered twice") as fault:
        registry.load_plugin(str(file))
    assert "methods/finetune.py:" in str(fault.value)
    assert "mine/taken.py:" in str(fault.value)
    assert registry.get("method", "finetune").__module__ == "xlbench.methods.finetune"


def test_two_plugins_with_one_name_are_refused_naming_both_places(tmp_path):
    registry.load_plugin(str(plugin(tmp_path / "one.py", "twice")))
    with pytest.raises(XlbenchError, match="'twice' is registered twice") as fault:
        registry.load_plugin(str(plugin(tmp_path / "two.py", "twice")))
    assert "one.py:" in str(fault.value)
    assert "two.py:" in str(fault.value)


def test_files_that_differ_in_a_far_folder_alone_are_told_apart(tmp_path):
    registry.load_plugin(str(plugin(tmp_path / "a" / "mine" / "same.py", "twice")))
    with pytest.raises(XlbenchError, match="registered twice") as fault:
        registry.load_plugin(str(plugin(tmp_path / "b" / "mine" / "same.py", "twice")))
    assert "/a/mine/same.py" in str(fault.value)
    assert "/b/mine/same.py" in str(fault.value)


def test_one_file_that_registers_a_name_twice_is_refused(tmp_path):
    file = plugin(tmp_path / "one.py", "twice")
    file.write_text(file.read_text() + file.read_text().replace("class MeanPool", "class Another"))
    with pytest.raises(XlbenchError, match="registered twice"):
        registry.load_plugin(str(file))


def test_a_method_and_a_task_may_share_a_name():
    class Something:
        """Something."""

    assert register_task("both-kinds")(Something) is Something
    assert register_method("both-kinds")(Something) is Something


# Plug-ins


def test_plugin_file_is_registered_with_its_place(tmp_path):
    registry.load_plugin(str(plugin(tmp_path / "mine.py", "mine")))
    entry = registry.find("method", "mine")
    assert entry.place.startswith(f"{tmp_path.name}/mine.py:")
    assert entry.summary == "The mean of the last hidden states, and a linear layer."


def test_plugin_module_is_found_from_the_working_folder(tmp_path, monkeypatch):
    plugin(tmp_path / "module_of_mine.py", "from-a-module")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    registry.load_plugin("module_of_mine")
    assert "from-a-module" in registry.names("method")


def test_plugin_module_that_was_imported_before_is_no_mistake(tmp_path, monkeypatch):
    plugin(tmp_path / "imported_before.py", "imported-before")
    monkeypatch.syspath_prepend(tmp_path)
    __import__("imported_before")
    registry.load_plugin("imported_before")
    assert "imported-before" in registry.names("method")


def test_loading_a_plugin_twice_is_harmless(tmp_path, monkeypatch):
    file = plugin(tmp_path / "mine.py", "mine")
    registry.load_plugin(str(file))
    first = registry.get("method", "mine")
    monkeypatch.chdir(tmp_path)
    registry.load_plugin("mine.py")
    registry.load_plugin(str(file))
    assert registry.get("method", "mine") is first


def refused(plugin_name: str | Path) -> str:
    """The sentence with which a plug-in is refused."""
    with pytest.raises(XlbenchError) as fault:
        registry.load_plugin(str(plugin_name))
    return str(fault.value)


def test_missing_plugin_file(tmp_path):
    assert refused(tmp_path / "none.py") == f"the plug-in file {tmp_path}/none.py does not exist"


def test_missing_plugin_module():
    assert "no_such_module_anywhere does not import: ModuleNotFoundError" in refused("no_such_module_anywhere")


def test_plugin_with_a_syntax_error_names_the_line(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("x = 1\n\ndef f(:\n    pass\n")
    assert f"the plug-in {file} does not import (line 3): SyntaxError" in refused(file)


def test_plugin_with_an_import_error_names_the_line(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text('"""A plug-in."""\n\nimport no_such_module_anywhere\n')
    assert f"the plug-in {file} does not import (line 3): ModuleNotFoundError" in refused(file)


def test_plugin_that_leaves_the_process_does_not(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("import sys\nsys.exit(0)\n")
    assert "does not import (line 2): SystemExit" in refused(file)


def test_plugin_that_registers_nothing(tmp_path):
    file = tmp_path / "empty.py"
    file.write_text("x = 1\n")
    ways = "@register_method, @register_task or @register_resource"
    assert f"registers nothing; decorate a class with {ways}" in refused(file)


def test_a_plugin_that_was_refused_can_be_repaired_and_loaded(tmp_path):
    file = plugin(tmp_path / "mine.py", "mine", ("from torch import nn", "from torch import nothing"))
    refused(file)
    registry.load_plugin(str(plugin(file, "mine")))
    assert "mine" in registry.names("method")


def test_decorating_a_function_is_refused():
    with pytest.raises(XlbenchError, match=r"@register_method\('mine'\) decorates a class"):
        register_method("mine")(lambda: None)


# Names


@pytest.mark.parametrize(
    "name",
    ["", "../up", "..", "a/b", "a\\b", "/root", "two words", "tab\t", "line\nbreak", "a--b", "-a", "a-", "a_b", "a.b",
     "<b>", "a|b", "ünder", "名前", "x" * 81, "x" * 10_000, "\x1b[31mred", "a\0b"],
)  # fmt: skip
def test_names_that_are_no_names_are_refused(name):
    with pytest.raises(XlbenchError, match="a method's name is letters and digits joined by '-', at most 80"):
        register_method(name)


@given(st.text(min_size=1, max_size=20))
def test_whatever_name_is_accepted_can_stand_in_a_path_a_table_and_a_shell(name):
    try:
        register_method(name)
    except XlbenchError:
        return
    assert name.isascii()
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")


# Nothing heavy for a list


LIGHT = """
import json, sys
from typer.testing import CliRunner
from xlbench import registry
from xlbench.cli import app
listed = [registry.entries(kind) for kind in ("method", "task")]
codes = [CliRunner().invoke(app, arguments).exit_code for arguments in
         (["--help"], ["--version"], ["list", "methods"], ["list", "tasks"], ["list", "suites"], ["run", "--help"])]
heavy = [name for name in ("torch", "transformers", "datasets", "peft", "pandas", "pyarrow") if name in sys.modules]
print(json.dumps([codes, heavy]))
"""


def test_help_and_lists_import_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(done.stdout) == [[0] * 6, []]
