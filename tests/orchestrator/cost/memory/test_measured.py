"""Predicted memory against measured: real stages of small models on the CPU, every byte of live tensors counted."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from tests.orchestrator.cost.memory.cases import HELD_OUT, QUICK, READ_OFF
from tests.orchestrator.cost.memory.measured import Case
from tests.support.live_bytes import LiveBytes, tensors_in

TOLERANCE = 0.15
"""The share by which a prediction may miss."""
SLOW = [name for name in (*READ_OFF, *HELD_OUT) if name not in QUICK]


def check(name: str, case: Case) -> None:
    measured, predicted = case.measured(), case.predicted()
    print(f"| {name} | {measured / 1e6:.1f} MB | {predicted / 1e6:.1f} MB | {predicted / measured:.2f} |")
    assert predicted == pytest.approx(measured, rel=TOLERANCE)


@pytest.mark.parametrize("name", QUICK)
def test_memory_is_predicted(name: str) -> None:
    check(name, HELD_OUT[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_memory_of_more_configurations_is_predicted(name: str) -> None:
    check(name, (READ_OFF | HELD_OUT)[name])


def test_half_of_the_configurations_were_held_out() -> None:
    assert len(READ_OFF) + len(HELD_OUT) >= 24
    assert len(HELD_OUT) >= 12
    assert not set(READ_OFF.values()) & set(HELD_OUT.values())
    assert {case.kind for case in HELD_OUT.values()} >= {case.kind for case in READ_OFF.values()}


def passed(model: torch.nn.Module, rows: torch.Tensor) -> None:
    model(rows).square().sum().backward()


def test_live_bytes_are_those_that_torch_s_own_profiler_counts() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.GELU(), torch.nn.Linear(64, 32))
    rows = torch.randn(256, 32)
    with LiveBytes([*tensors_in(model), rows]) as live:
        start = live.now
        passed(model, rows)
    model.zero_grad()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        passed(model, rows)
    events = [one for one in profiler.profiler.kineto_results.events() if one.name() == "[memory]"]  # type: ignore[union-attr]
    now = peak = 0
    for event in sorted(events, key=lambda one: one.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    assert live.peak - start == peak


def test_live_bytes_begin_with_what_is_given_and_forget_what_goes() -> None:
    model = torch.nn.Linear(8, 8, bias=False)
    with LiveBytes(tensors_in(model)) as live:
        assert live.now == 8 * 8 * 4
        large = torch.zeros(1000)
        assert live.now == 8 * 8 * 4 + 4000
        view = large[:10]
        del large
        assert live.now == 8 * 8 * 4 + 4000
        del view
        assert live.now == 8 * 8 * 4
    assert live.peak == 8 * 8 * 4 + 4000
