from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from xlbench.parts.edited_states import EditConfig, EditedStates
from xlbench.registry import register_method


@register_method("incline")
class Incline(EditedStates):
    """INCLINE (Wang et al., ACL 2025) on an encoder: target states moved by a least-squares map to the source's.

    Published, for decoders: for each layer and language W = argmin ‖XW - Y‖², X and Y, (m, d), the mean states of 500
    sentences of the target language and of their English translations, no bias, no ridge; at test time the last
    token's state of every layer, h + σ hW (their BLOOMZ script; their Llama script subtracts), σ tried from -1 to 1
    by 0.1 on the test set.

    Chosen, for this is no decoder and no language model's next word: learnt on the encoder after fine-tuning, mean over
    tokens without `<s>` and `</s>`; one middle layer, every token; `interpolate`, h + α (hW - h), α = 0.5 fixed, for
    source dev sees no edit and cannot choose it. `layers=all positions=read mode=literal` is nearest to the published;
    there each W is of unedited states, as in their code, although the layers below are edited (`fit_on=edited` learns
    them in turn). All pairs are used: with fewer of them than d the least squares meet each exactly and shrink every
    other state, which the record notes; `ridge` λ gives W = (XᵀX + λI)⁻¹XᵀY. With α = 0 this is fine-tuning, to the
    bit.
    """

    class Config(EditConfig):
        alpha: float = Field(0.5, description="strength of the edit; 0: fine-tuning")
        mode: Literal["interpolate", "literal"] = Field("interpolate", description="h + α (hW - h), or h + α hW")
        ridge: float = Field(0.0, ge=0, description="λ of the ridge, on sums over pairs; 0: least squares")
        centre: bool = Field(False, description="learn and apply W between states less their languages' means")
        search = EditConfig.search

    config: "Incline.Config"
    citation = (
        "Wang et al. (2025), Bridging the Language Gaps in Large Language Models with Inference-Time Cross-Lingual "
        "Intervention, ACL. arXiv 2410.12462"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.centred, self.adds = self.config.centre, self.config.mode == "literal"

    def matrix(self, target: np.ndarray, source: np.ndarray) -> np.ndarray:
        return least_squares(target, source, self.config.ridge)

    def _learn(self, language: str, pairs: Sequence[tuple[str, str]]) -> None:
        super()._learn(language, pairs)
        fitted, width = int(self.found.get(f"pairs, {language}", 0)), self.backbone.dimension
        if 0 < fitted < width and not self.config.ridge:
            self.notes.append(
                f"{fitted} pairs for {language} and states of {width} numbers: the least squares meet each pair and "
                "shrink other states; give more with --parallel-size, or --set ridge"
            )


def least_squares(target: np.ndarray, source: np.ndarray, ridge: float = 0.0) -> np.ndarray:
    """W, (d, d), with the least ‖target W - source‖² + ridge ‖W‖², states (m, d); of several the shortest."""
    if not ridge:
        return np.linalg.lstsq(target, source, rcond=None)[0]
    return np.linalg.solve(target.T @ target + ridge * np.eye(target.shape[1]), target.T @ source)
