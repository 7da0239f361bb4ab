"""Peaks of memory: the machine's for real, a GPU's from what torch's allocator says."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from workers.memory import Peak, forget_peak_memory, peak_gpu_memory, peak_memory

MEGABYTE = 1 << 20


class Cuda:
    """Two GPUs as `torch.cuda` tells of them."""

    def __init__(self, initialized: bool) -> None:
        self.initialized = initialized
        self.reserved = [3 * MEGABYTE, 5 * MEGABYTE]
        self.reset: list[int] = []
        self.emptied = False

    def is_initialized(self) -> bool:
        return self.initialized

    def device_count(self) -> int:
        assert self.initialized, "to count GPUs begins to use them"
        return len(self.reserved)

    def empty_cache(self) -> None:
        assert not self.reset, "what is left counts where peaks are forgotten first"
        self.emptied = True

    def max_memory_reserved(self, device: int) -> int:
        return self.reserved[device]

    def reset_peak_memory_stats(self, device: int) -> None:
        self.reset.append(device)


def torch_with(monkeypatch: pytest.MonkeyPatch, initialized: bool) -> Cuda:
    cuda = Cuda(initialized)
    fake: Any = SimpleNamespace(cuda=cuda)
    monkeypatch.setitem(sys.modules, "torch", fake)
    return cuda


def test_the_peak_of_the_machine_is_counted_anew() -> None:
    forget_peak_memory()
    before = peak_memory()
    held = bytearray(64 * MEGABYTE)
    grown = peak_memory()
    assert grown - before > 60 * MEGABYTE
    del held
    assert peak_memory() > grown - MEGABYTE, "a peak stays, to what the kernel counts in batches"
    forget_peak_memory()
    assert peak_memory() < grown - 30 * MEGABYTE


def test_without_a_gpu_in_use_there_is_no_peak_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    torch_with(monkeypatch, initialized=False)
    forget_peak_memory()
    assert peak_gpu_memory() is None
    monkeypatch.delitem(sys.modules, "torch")
    assert Peak.of_this_process().gpu is None


def test_the_fullest_gpu_counts_and_all_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch_with(monkeypatch, initialized=True)
    assert Peak.of_this_process().gpu == 5 * MEGABYTE
    forget_peak_memory()
    assert cuda.emptied
    assert cuda.reset == [0, 1]


def test_processes_share_a_machine_and_have_a_gpu_each() -> None:
    assert Peak(3, 7).beside(Peak(4, 5)) == Peak(7, 7)
    assert Peak(3, None).beside(Peak(4, 5)) == Peak(7, 5)
    assert Peak(3, None).beside(Peak(4, None)) == Peak(7, None)
