"""What is asked for: RunSpec (one run), Suite (a table of runs), Runtime (where they happen), frozen and validated.

A RunSpec is hashed into the name of its record, so everything that can change a number stands in it; what cannot
(folders, the progress bar) stands in Runtime.
"""

from xlbench.spec.parsing import Frozen, Scalar, digest, digest_of_list, parse
from xlbench.spec.run_spec import (
    ALL,
    AXES,
    NONE,
    ORACLE,
    Lora,
    ParallelSettings,
    Precision,
    Read,
    ResolvedSpec,
    ResolvedTraining,
    RunSpec,
    Selection,
    TestDesign,
    Training,
    TrainOn,
    Tune,
    by_shots,
    in_words,
    written,
)
from xlbench.spec.runtime import Runtime, is_url
from xlbench.spec.suite import Analysis, MethodChoice, Suite

__all__ = [
    "ALL", "AXES", "NONE", "ORACLE", "Analysis", "Frozen", "Lora", "MethodChoice", "ParallelSettings",
    "Precision", "Read", "ResolvedSpec", "ResolvedTraining", "RunSpec", "Runtime", "Scalar", "Selection",
    "Suite", "TestDesign", "TrainOn", "Training", "Tune", "by_shots", "digest", "digest_of_list", "in_words",
    "is_url", "parse", "written",
]  # fmt: skip
