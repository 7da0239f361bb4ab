"""Names of experiments: `{model}/{dataset}/s{seed}` with the levels put in."""

import re
from collections.abc import Callable

from orchestrator.factors import Space, Vector

_FIELD = re.compile(r"\{(\w+)\}")


def name_factors(template: str) -> list[str]:
    """The factors that a name mentions."""
    return _FIELD.findall(template)


def compile_name(template: str, space: Space) -> Callable[[Vector], str]:
    """The function from an experiment to its name.

    A part between slashes that mentions an absent factor is left out: an unaligned model has no `s{seed}`.
    """
    parts = [_compile_part(part, space) for part in template.split("/")]

    def name(vector: Vector) -> str:
        return "/".join([text for part in parts if (text := part(vector)) is not None])

    return name


def _compile_part(part: str, space: Space) -> Callable[[Vector], str | None]:
    words = _FIELD.split(part)
    literals, positions = words[::2], [space.position[factor] for factor in words[1::2]]
    if words[::2] == ["", ""]:
        (only,) = positions
        return lambda vector: None if vector[only] is None else str(vector[only])

    def fill(vector: Vector) -> str | None:
        levels = [vector[position] for position in positions]
        if None in levels:
            return None
        return literals[0] + "".join(
            f"{level}{text}" for level, text in zip(levels, literals[1:], strict=True)
        )

    return fill
