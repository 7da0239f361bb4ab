"""Validation: pydantic's complaints about a recipe as messages of a grid."""

import types
from collections.abc import Callable
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from orchestrator.errors import GridError, Problem, nearest, unknown
from orchestrator.references import readable
from workers.recipe import REFUSED

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[Any, ...]


def validate(model: type[Model], values: Any, what: str, place_of: Callable[[Location], str]) -> Model:
    """The settings that `values` describe.

    `what` names them in messages; `place_of` tells where the value at a location inside them was written.

    Raises:
        GridError: with one problem for each value that the model refuses.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        complaints = error.errors(include_url=False)
        raise GridError([_problem(model, complaint, what, place_of) for complaint in complaints]) from None


def _problem(
    model: type[BaseModel], complaint: Any, what: str, place_of: Callable[[Location], str]
) -> Problem:
    location = tuple(complaint["loc"])
    place = place_of(location)
    if complaint["type"] == "extra_forbidden":
        inner = model_at(model, location[:-1])
        inside = f" in {'.'.join(map(str, location[:-1]))}" if location[:-1] else ""
        return Problem(
            place, unknown("key", location[-1], inner.model_fields if inner else (), f"{inside} in {what}")
        )
    key = ".".join(map(str, location)) or "the whole"
    if complaint["type"] == "missing":
        return Problem(place, f"{key} is missing in {what}")
    got = complaint["input"]
    if isinstance(got, dict) and complaint["type"] == REFUSED:  # a rule about several keys names them itself
        return Problem(place, f"{key} in {what}: {complaint['msg']}")
    shown = f"not {readable(got)!r}" if isinstance(got, str) else f"not {_short(got)}"
    return Problem(place, f"{key} in {what}: {_lower(complaint['msg'])}, {shown}{_hint(complaint)}")


def model_at(model: type[BaseModel], location: Location) -> type[BaseModel] | None:
    """The settings model that a location inside `model` lies in, or None where there is none."""
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int) or current is None:
            continue
        field = current.model_fields.get(part)
        current = _settings_type(field.annotation) if field else None
    return current


def _settings_type(annotation: Any) -> type[BaseModel] | None:
    """The settings model inside an annotation such as `LoraRecipe | None` or `tuple[Benchmark, ...]`."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    if get_origin(annotation) in (Union, types.UnionType, tuple, list):
        found = (_settings_type(argument) for argument in get_args(annotation))
        return next((item for item in found if item is not None), None)
    return None


def _hint(complaint: Any) -> str:
    expected = (complaint.get("ctx") or {}).get("expected")
    if complaint["type"] != "literal_error" or not isinstance(expected, str):
        return ""
    names = [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
    near = nearest(complaint["input"], names)
    return f"; did you mean {near!r}?" if near else ""


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
