"""What the drivers of a workspace say of themselves, for `status`."""

from dataclasses import dataclass
from typing import Any

from cluster.ray.records import DriverRecord, read_drivers
from results.layout import Workspace


@dataclass(frozen=True)
class RayReport:
    """The drivers that are not over, and the trouble that the last one ended with."""

    drivers: tuple[DriverRecord, ...]
    trouble: str

    @property
    def lines(self) -> list[str]:
        """As a person reads it."""
        found = [_line(one) for one in self.drivers]
        return [*found, f"ray: {self.trouble}"] if self.trouble else found

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        drivers = [
            {"job": one.job, "address": one.address, "actors": one.actors, "waiting": one.waiting}
            for one in self.drivers
        ]
        return {"drivers": drivers, "trouble": self.trouble, "lines": self.lines}


def ray_report(workspace: Workspace) -> RayReport | None:
    """The report; None where nothing went to Ray. It asks the files alone, never the cluster."""
    records = list(read_drivers(workspace))
    if not records:
        return None
    alive = tuple(one for one in records if not one.over and one.runs_here is not False)
    return RayReport(alive, records[-1].trouble if records[-1].over else "")


def _line(driver: DriverRecord) -> str:
    placed = ", ".join(f"{count} {shape}" for shape, count in driver.actors.items() if count)
    waiting = ", ".join(f"{count} {shape}" for shape, count in driver.waiting.items() if count)
    state = f"actors: {placed or 'none yet'}" if driver.process else "its driver has not begun"
    return f"ray: driver {driver.job}: {state}" + (f"; waiting to be placed: {waiting}" if waiting else "")
