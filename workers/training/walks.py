"""Walks over a model's modules, remembered for the time of a training.

Every optimizer step asks the model for its parameters three times and sets each of its modules to training mode. On
a small model those walks over hundreds of modules are a twentieth of the step, and always find the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def remembered_walks(model: Any) -> Iterator[None]:
    """Within the body, `model.parameters()` and `model.train()` answer from memory.

    Invariant: the body neither adds or replaces parameters nor sets a part of the model to evaluation mode
    without the whole.
    """
    parameters = list(model.parameters())
    set_mode = model.train

    def remembered_parameters(recurse: bool = True) -> Iterator[Any]:
        return iter(parameters if recurse else type(model).parameters(model, recurse=False))

    def remembered_train(mode: bool = True) -> Any:
        return model if model.training == mode else set_mode(mode)

    set_mode(True)
    model.parameters, model.train = remembered_parameters, remembered_train
    try:
        yield
    finally:
        del model.parameters, model.train
