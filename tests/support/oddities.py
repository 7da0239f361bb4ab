"""Kinds of stage that behave oddly, as users' own code may."""

import os
import sys

from workers.context import StageContext, StageResult, metric
from workers.kinds import Kind
from workers.recipe import Recipe


class OddRecipe(Recipe):
    """`way` says how to be odd."""

    way: str = ""


def run(recipe: OddRecipe, context: StageContext) -> StageResult:
    """Be odd, and say how often this process has been so."""
    times = context.memory["times"] = context.memory.get("times", 0) + 1
    match recipe.way:
        case "prints":
            print("printed by the stage")
            os.write(1, b'{"event": "finished"}\n')
            print("complained by the stage", file=sys.stderr)
        case "exits":
            raise SystemExit(3)
        case "vanishes":
            os._exit(3)
        case "interrupts":
            raise KeyboardInterrupt
        case "infinite":
            return StageResult([{**metric("odd", 1.0), "value": float("inf")}])
        case "perhaps":
            return StageResult([metric("odd", 1.0)], outcome="perhaps")  # type: ignore[arg-type]
        case "unspeakable":
            return StageResult([{**metric("odd", 1.0), "value": object()}])  # type: ignore[typeddict-item]
        case "deaf":
            context.progress(1, 2)
            while True:
                pass
    return StageResult([metric("odd", float(times), n=os.getpid())], message=recipe.way or None)


ODD = Kind("odd", 1, OddRecipe, "tests.support.oddities:run", reference="tests.support.oddities:ODD")
