"""Packed weights: the same scores, for as long as it takes, and for nobody but those whom it helps."""

import pytest
import torch
from torch import nn

from xlbench import packing
from xlbench.flops import Counter
from xlbench.packing import packed, there

CPU = torch.device("cpu")

needs_kernel = pytest.mark.skipif(not there(), reason="this PyTorch or processor has no packed kernel")


@pytest.fixture
def layers() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(24, 40), nn.GELU(), nn.Linear(40, 8, bias=False))


def swapped(module: nn.Module) -> int:
    return sum("forward" in vars(one) for one in module.modules())


@needs_kernel
@pytest.mark.parametrize("shape", [(24,), (1, 24), (7, 24), (3, 5, 24), (0, 24)])
def test_products_are_those_of_the_plain_weights_and_count_as_many_flops(layers, shape):
    states = torch.randn(shape)
    found = []
    with torch.no_grad():
        for precision in ("fp32", "bf16"):  # the latter changes nothing
            with packed(layers, CPU, precision), Counter() as counter:
                found.append((layers(states), counter.total, swapped(layers)))
    (ours, ours_counted, by_packed), (plain, counted, by_plain) = found
    torch.testing.assert_close(ours, plain, atol=1e-6, rtol=1e-5)
    assert (by_packed, by_plain) == (2, 0)
    assert ours_counted == counted == 2 * states.numel() // 24 * (24 * 40 + 40 * 8)


@needs_kernel
def test_afterwards_all_is_as_before_whatever_happened_and_weights_are_read_anew(layers):
    states = torch.randn(3, 24)
    with torch.no_grad():
        with pytest.raises(KeyError), packed(layers, CPU, "fp32"):
            raise KeyError
        assert swapped(layers) == 0
        layers[2].weight.zero_()
        with packed(layers, CPU, "fp32"), packed(layers, CPU, "fp32"):
            assert layers(states).abs().max() == 0
        assert swapped(layers) == 0
    layers(states).sum().backward()
    assert layers[0].weight.grad is not None


def test_where_there_is_no_kernel_or_no_cpu_nothing_is_packed(layers, monkeypatch):
    with packed(layers, torch.device("meta"), "fp32"):
        assert swapped(layers) == 0
    monkeypatch.setattr(packing, "MEASURED", set())
    with packed(layers, CPU, "fp32"):
        assert swapped(layers) == 0


@needs_kernel
def test_weights_stay_as_they_are_where_there_is_no_room_for_a_second_copy(layers, monkeypatch):
    copy = 4 * (24 * 40 + 40 * 8)
    for free, expected in ((copy, 0), (2 * copy, 2)):
        monkeypatch.setattr(packing, "free_bytes", lambda _, free=free: free)
        with packed(layers, CPU, "fp32"):
            assert swapped(layers) == expected


@needs_kernel
def test_layers_of_another_kind_are_left_alone():
    class Own(nn.Linear):
        pass

    module = nn.ModuleList([Own(4, 4), nn.Linear(4, 4).double(), nn.Linear(4, 4)])
    with packed(module, CPU, "fp32"):
        assert swapped(module) == 1
