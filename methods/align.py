from typing import Literal

import numpy as np
from pydantic import Field

from xlbench.parts.edited_states import EditConfig, EditedStates
from xlbench.registry import register_method


@register_method("align")
class Align(EditedStates):
    """Fine-tuning, then a target language's states moved onto the source's: by centring, a rotation, or LIR.

    The means μ, X and Y are of sentences of parallel text, one state a sentence, by the tuned encoder (see
    EditedStates):
    centre: h - μ_t + μ_s (Libovický et al. 2020); at the middle layer with α 0.5 the latent shift of ITLC (Lopo et al.
    2025), which has it between LDA's features of 204 languages, in a decoder whose output language it steers;
    procrustes: (h - μ_t) R + μ_s, R = UVᵀ of XᵀY = UΣVᵀ, X and Y centred (Kulshreshtha et al. 2020);
    lir: h - (h c) cᵀ, c the `rank` leading right singular vectors of X, not centred (Yang et al. 2021); centred, it is
    all-but-the-top, whose mean is the source's.

    Chosen, for the papers have frozen features, retrieval or heads trained on what they edit: an edit after
    fine-tuning, of target languages alone, towards the source. Centring and LIR as published edit the source too, which
    a head must have been trained on. The middle layer, every token's state, means of tokens without `<s>` and `</s>`
    (Libovický's have them) and Kulshreshtha's normalisation, which their abstract does not say, are choices too. With
    α = 0 this is fine-tuning, to the bit.
    """

    class Config(EditConfig):
        map: Literal["centre", "procrustes", "lir"] = Field("centre", description="how states are moved")
        centre_first: bool | None = Field(
            None, description="take the languages' means off before the map; none: as published, not for lir"
        )
        unit: bool = Field(False, description="procrustes: bring states to length 1 before the rotation is learnt")
        rank: int = Field(1, ge=1, description="lir: how many directions are removed")
        search = EditConfig.search

    config: "Align.Config"
    citation = (
        "Kulshreshtha et al. (2020), Cross-lingual Alignment Methods for Multilingual BERT: A Comparative Study, "
        "Findings of EMNLP. arXiv 2009.14304; Libovický et al. (2020), On the Language Neutrality of Pre-trained "
        "Multilingual Representations, Findings of EMNLP. arXiv 2004.05160; Yang et al. (2021), A Simple and Effective "
        "Method To Eliminate the Self Language Bias in Multilingual Representations, EMNLP. arXiv 2109.04727; Lopo et "
        "al. (2025), Language Surgery in Multilingual Large Language Models, MRL. arXiv 2506.12450"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        asked = self.config.centre_first
        self.centred = self.config.map != "lir" if asked is None else asked

    def matrix(self, target: np.ndarray, source: np.ndarray) -> np.ndarray | None:
        if self.config.map == "centre":
            return None
        if self.config.map == "lir":
            return removal(target, self.config.rank)
        return procrustes(*(unit(side) if self.config.unit else side for side in (target, source)))


def procrustes(target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """The orthogonal R, (d, d), for which target R is nearest to source, both (m, d): UVᵀ of targetᵀ source = UΣVᵀ."""
    left, _, right = np.linalg.svd(target.T @ source)
    rotation: np.ndarray = left @ right
    return rotation


def removal(states: np.ndarray, rank: int) -> np.ndarray:
    """I - ccᵀ, (d, d), of the `rank` leading right singular vectors c, (d, rank), of states (m, d)."""
    leading = np.linalg.svd(states, full_matrices=False)[2][:rank].T
    kept: np.ndarray = np.eye(len(leading)) - leading @ leading.T
    return kept


def unit(states: np.ndarray) -> np.ndarray:
    """States, (m, d), each at length 1; one of zeros stays."""
    lengths = np.linalg.norm(states, axis=1, keepdims=True)
    return states / np.where(lengths, lengths, 1.0)
