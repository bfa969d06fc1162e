"""What the files of a sentence encoder say of how states become one vector a text: nothing of it is guessed.

The layout is that of sentence-transformers (Reimers & Gurevych 2019): `modules.json` lists what states go through, in
order; a folder for each module holds its settings and weights; `config_sentence_transformers.json` has the prompts, and
`sentence_bert_config.json` the longest text. What is written there and not understood is refused.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor, nn

from xlbench.checkpoint_files import model_folder
from xlbench.errors import XlbenchError, one_line
from xlbench.host.safe_reading import from_json, read_text
from xlbench.sources import hub_answers

JSON_BYTES = 2**20

# How poolings are called here, in the order in which several are joined, and by the flags of the files.
POOLINGS = {
    "cls": "cls_token",
    "max": "max_tokens",
    "mean": "mean_tokens",
    "mean-sqrt": "mean_sqrt_len_tokens",
    "weighted-mean": "weightedmean_tokens",
    "last": "lasttoken",
}
BY_NAME = {"mean_sqrt_len": "mean-sqrt", "weightedmean": "weighted-mean", "lasttoken": "last"}  # where one word says it
ACTIVATIONS = {kind.__name__: kind for kind in (nn.Tanh, nn.Identity, nn.ReLU, nn.GELU)}
LENGTHS = [f"sentence_{kind}_config.json" for kind in ("bert", "roberta", "distilbert", "xlm-roberta", "camembert")]


@dataclass(frozen=True)
class SentenceFiles:
    """How a sentence encoder makes a vector of a text's last hidden states.

    `pooling`: names of POOLINGS, joined in their order. `layers`: (n, d) → (n, e) behind the pooling; `unit`: whether
    vectors are then of length 1. `prompts`: what may stand before a text, by name, and `prefix` what does, None where
    several may and none is the default; `prefix_pooled`: whether its tokens are pooled too. `max_length`: of a text, in
    tokens, or None. `digests`: of each file that says so, by its name.
    """

    pooling: tuple[str, ...]
    layers: nn.Sequential
    unit: bool
    prompts: Mapping[str, str] = field(default_factory=dict)
    prefix: str | None = ""
    prefix_pooled: bool = True
    max_length: int | None = None
    lower_case: bool = False
    digests: Mapping[str, str] = field(default_factory=dict)


def sentence_files(model: str, revision: str | None, width: int) -> SentenceFiles | None:
    """What the files of a hub id, a folder or `tiny` say, whose states have `width` numbers; None for a model without a
    `modules.json`, which is no sentence encoder.

    Raises XlbenchError for files that are not understood, with the file and what it says.
    """
    files = _Files(model, revision)
    modules = files.json("modules.json")
    if modules is None:
        return None
    kinds = [(str(module.get("type", "")).rpartition(".")[2], str(module.get("path", ""))) for module in modules]
    first, second, *others = [*kinds, ("", ""), ("", "")][: max(2, len(kinds))]
    if first != ("Transformer", "") or second[0] != "Pooling":
        found = ", ".join(f"{kind} in {path!r}" for kind, path in kinds)
        raise files.odd(
            "modules.json", f"it lists {found or 'nothing'}, and not a Transformer in '' and then a Pooling"
        )
    pooled = files.needed(f"{second[1]}/config.json")
    pooling = _pooling(files, f"{second[1]}/config.json", pooled)
    unit = bool(others) and others[-1][0] == "Normalize"
    layers = _layers(files, others[: len(others) - unit], width * len(pooling))
    said, limits = files.json("config_sentence_transformers.json") or {}, files.lengths()
    prompts, default = said.get("prompts") or {}, said.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise files.odd("config_sentence_transformers.json", f"its default prompt {default!r} is none of its prompts")
    prefix = prompts[default] if default is not None else None if any(prompts.values()) else ""
    return SentenceFiles(
        pooling, layers, unit, prompts, prefix, bool(pooled.get("include_prompt", True)),
        limits.get("max_seq_length"), bool(limits.get("do_lower_case", False)), files.digests,
    )  # fmt: skip


class Unit(nn.Module):
    """Vectors, (n, d), at length 1."""

    def forward(self, vectors: Tensor) -> Tensor:
        return nn.functional.normalize(vectors, dim=-1)


class _Files:
    """The files of a model by their names, in a folder or on the hub, and the digests of those that were read."""

    def __init__(self, model: str, revision: str | None) -> None:
        self.model, self.revision, self.folder = model, revision, model_folder(model)
        self.digests: dict[str, str] = {}

    def find(self, name: str) -> Path | None:
        """A file's path; None where the model has none of that name. Raises XlbenchError where that cannot be known."""
        name = str(PurePosixPath(name.lstrip("/")))
        if ".." in PurePosixPath(name).parts:
            raise self.odd("modules.json", f"its path {name!r} leads out of the model")
        if self.folder is not None:
            return self.folder / name if (self.folder / name).is_file() else None
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        hub_answers()  # or its clients are set to work offline
        try:
            return Path(hf_hub_download(self.model, name, revision=self.revision))
        except EntryNotFoundError as fault:
            if not isinstance(fault, LocalEntryNotFoundError):
                return None
            reason: Exception = fault
        except Exception as fault:  # no answer, no access, no such commit
            reason = fault
        raise XlbenchError(
            f"cannot know whether the model {self.model} has {name} ({one_line(reason)[:200]}), which says how it "
            "makes vectors of texts; give --model FOLDER to work without the hub"
        ) from reason

    def json(self, name: str) -> Any:
        """What a JSON file holds; None where there is none."""
        file = self.find(name)
        if file is None:
            return None
        place = f"{name} of {self.model}"
        try:
            text = read_text(file, JSON_BYTES, place)
            found = from_json(text, place)
        except (ValueError, OSError) as fault:
            raise XlbenchError(f"{place} is no JSON ({one_line(fault)}); give a whole sentence encoder") from fault
        if not isinstance(found, list if name == "modules.json" else dict):
            raise self.odd(name, f"it holds {str(found)[:60]}")
        self.digests[name] = hashlib.sha256(text.encode()).hexdigest()
        return found

    def needed(self, name: str) -> dict[str, Any]:
        found = self.json(name)
        if found is None:
            raise XlbenchError(
                f"{self.model} has no {name}, which its modules.json names; give a whole sentence encoder"
            )
        return dict(found)

    def weights(self, name: str) -> dict[str, Tensor]:
        """The tensors of a safetensors file."""
        from safetensors.torch import load_file

        file = self.find(name)
        if file is None:
            raise XlbenchError(f"{self.model} has no {name}; only safetensors weights are read: convert its .bin file")
        self.digests[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        return load_file(file)

    def lengths(self) -> dict[str, Any]:
        """What the first file says that has the longest text; empty where there is none."""
        return next((dict(found) for name in LENGTHS if (found := self.json(name)) is not None), {})

    def odd(self, name: str, what: str) -> XlbenchError:
        return XlbenchError(f"{name} of {self.model} is not understood: {what}; choose another sentence encoder")


def _pooling(files: _Files, name: str, said: Mapping[str, Any]) -> tuple[str, ...]:
    """The poolings that a config names: by a flag for each, or in one word or a list of them."""
    words = said.get("pooling_mode")
    if words is not None:
        asked = [words] if isinstance(words, str) else list(words)
        chosen = {BY_NAME.get(word.removesuffix("_tokens"), word) for word in map(str, asked)}
    else:
        by_flag = {f"pooling_mode_{flag}": pooling for pooling, flag in POOLINGS.items()}
        chosen = {by_flag.get(key, key) for key, on in said.items() if key.startswith("pooling_mode_") and on}
    if not chosen or chosen - set(POOLINGS):
        odd = ", ".join(sorted(chosen - set(POOLINGS)))
        raise files.odd(name, f"it asks for the pooling {odd}" if odd else "it asks for no pooling")
    return tuple(pooling for pooling in POOLINGS if pooling in chosen)


def _layers(files: _Files, modules: list[tuple[str, str]], width: int) -> nn.Sequential:
    """What stands behind the pooling, which gives `width` numbers."""
    layers: list[nn.Module] = []
    for kind, path in modules:
        if kind == "Normalize":
            layers.append(Unit())
        elif kind == "Dense":
            layers += _dense(files, path, width)
            width = layers[-2].out_features  # type: ignore[assignment]
        elif kind != "Dropout":  # which does nothing where nothing trains
            raise files.odd("modules.json", f"it lists a {kind or 'module without a type'}")
    return nn.Sequential(*layers).requires_grad_(False)


def _dense(files: _Files, path: str, width: int) -> list[nn.Module]:
    """A linear layer, with the weights of its file, and its activation."""
    name = f"{path}/config.json"
    said = files.needed(name)
    activation = ACTIVATIONS.get(str(said.get("activation_function", "Tanh")).rpartition(".")[2])
    if activation is None:
        raise files.odd(name, f"its activation is {said['activation_function']!r}")
    weights = {
        key.removeprefix("linear."): value.float() for key, value in files.weights(f"{path}/model.safetensors").items()
    }
    matrix = weights.get("weight")
    if matrix is None or matrix.dim() != 2 or matrix.shape[1] != width or set(weights) - {"weight", "bias"}:
        shapes = {key: tuple(value.shape) for key, value in weights.items()}
        raise files.odd(f"{path}/model.safetensors", f"it holds {shapes}, for vectors of {width} numbers")
    layer = nn.Linear(width, len(matrix), bias="bias" in weights, device="meta")  # draws nothing
    layer.load_state_dict(weights, assign=True)
    return [layer, activation()]
