"""Energy, where NVML gives it."""

import sys
from types import SimpleNamespace

import pytest
import torch

from xlbench.engine.session import gpu_joules, joules_since

GPU = torch.device("cuda", 0)


class NVMLError(Exception):
    pass


@pytest.fixture
def nvml(monkeypatch):
    """A pynvml whose one GPU has drawn `drawn` millijoules."""
    fake = SimpleNamespace(drawn=5_000, open=0, NVMLError=NVMLError)

    def opened(change):
        fake.open += change

    def handle(name):
        if name != "GPU-a-b":
            raise NVMLError(name)
        return "handle"

    fake.nvmlInit, fake.nvmlShutdown = lambda: opened(1), lambda: opened(-1)
    fake.nvmlDeviceGetHandleByUUID = handle
    fake.nvmlDeviceGetTotalEnergyConsumption = lambda _: fake.drawn
    fake.uuid = "a-b"
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid=fake.uuid))
    return fake


def test_energy_is_what_was_drawn_between_two_readings_in_joules(nvml):
    before = gpu_joules(GPU)
    nvml.drawn += 7_250
    assert joules_since(before, GPU) == {"energy_joules": 7.2}
    assert nvml.open == 0


def test_a_gpu_that_nvml_does_not_know_has_no_energy(nvml):
    nvml.uuid = "another"
    assert gpu_joules(GPU) is None
    assert joules_since(None, GPU) == joules_since(5.0, GPU) == {}
    assert nvml.open == 0


def test_without_pynvml_or_on_a_cpu_there_is_no_energy(nvml, monkeypatch):
    assert gpu_joules(torch.device("cpu")) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu_joules(GPU) is None
