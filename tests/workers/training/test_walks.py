"""Remembered walks: the same answers, and nothing left behind."""

import pytest
import torch

from workers.training.walks import remembered_walks


def model() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(), torch.nn.Linear(4, 2))


def test_parameters_are_the_models_own_in_their_order() -> None:
    net = model()
    expected = [id(one) for one in net.parameters()]
    with remembered_walks(net):
        assert [id(one) for one in net.parameters()] == expected
        assert not list(net.parameters(recurse=False))


def test_gradients_are_cleared_through_the_remembered_list() -> None:
    net = model()
    with remembered_walks(net):
        net(torch.ones(1, 3)).sum().backward()
        net.zero_grad()
        assert all(one.grad is None for one in net.parameters())


def test_a_change_of_mode_reaches_every_module() -> None:
    net = model()
    with remembered_walks(net):
        assert all(one.training for one in net.modules())
        net.eval()
        assert not any(one.training for one in net.modules())
        net.train()
        assert all(one.training for one in net.modules())


def test_the_model_is_left_as_it_was_found() -> None:
    net = model()
    with pytest.raises(RuntimeError), remembered_walks(net):
        raise RuntimeError
    assert "parameters" not in vars(net) and "train" not in vars(net)
