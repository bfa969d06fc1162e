"""The head of methods that read a class off a state of the encoder."""

from torch import nn


def classification_head(dimension: int, outputs: int, dropout: float) -> nn.Sequential:
    """XLM-R's head, (…, d) → (…, outputs): dropout, Linear(d, d), tanh, dropout, Linear(d, outputs).

    Weights are drawn from N(0, 0.02), biases are 0 (Conneau et al. 2020, transformers' `XLMRobertaClassificationHead`).
    `finetune` has the same in its own file, on which the identity of its records depends.
    """
    first, last = nn.Linear(dimension, dimension), nn.Linear(dimension, outputs)
    for layer in (first, last):
        nn.init.normal_(layer.weight, std=0.02)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(nn.Dropout(dropout), first, nn.Tanh(), nn.Dropout(dropout), last)
