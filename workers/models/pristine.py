"""Giving a shared model back exactly as it was lent.

Training puts adapters, hooks, a fused head and flags on a model; PEFT and TRL remove some of them again and
leave others. Instead of undoing each, the attribute tables of every module are recorded once and put back.
"""

import copy
from typing import Any

from torch import nn

TABLES = ("_parameters", "_buffers", "_modules")
"""Attributes of every module that hold what it consists of, by name."""


class Pristine:
    """The state of a loaded model, to which `restore` returns it.

    Invariant: after `restore` every module has the attributes, submodules, parameters, buffers, hooks and
    mode of the moment of recording, and every configuration its values. The *values* of parameters are not
    recorded: a stage that changes them in place must work on a copy.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = [(module, _shallow(module.__dict__)) for module in model.modules()]
        self._trained = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        self._configurations = [
            (configuration, copy.deepcopy(configuration.__dict__))
            for configuration in _configurations(model).values()
        ]

    def restore(self) -> None:
        """Put everything back; cheap, a few microseconds a module."""
        for module, attributes in self._modules:
            module.__dict__.clear()
            module.__dict__.update(_shallow(attributes))
        for parameter, requires_grad in self._trained:
            parameter.grad = None
            parameter.requires_grad_(requires_grad)
        for configuration, values in self._configurations:
            configuration.__dict__.clear()
            configuration.__dict__.update(copy.deepcopy(values))


def _shallow(attributes: dict[str, Any]) -> dict[str, Any]:
    """A copy of a module's attributes in which the containers it owns are copied too."""
    return {
        name: copy.copy(value) if isinstance(value, dict | list | set) else value
        for name, value in attributes.items()
    }


def _configurations(model: nn.Module) -> dict[int, Any]:
    """Every configuration object that some module refers to, once each."""
    found: dict[int, Any] = {}
    for module in model.modules():
        for name in ("config", "generation_config"):
            configuration = module.__dict__.get(name)
            if hasattr(configuration, "__dict__"):
                found[id(configuration)] = configuration
    return found
