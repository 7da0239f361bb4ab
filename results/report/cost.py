"""What the experiments of a workspace cost: hours by kind of stage, failures by class, what was saved."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from results.report.source import Source

PARTS = ("compute", "load", "save", "startup", "other")
FINE = ("done", "diverged", "superseded", "early_stopped")
"""Endings that are no failures."""


@dataclass(frozen=True)
class Cost:
    """Times in hours of one worker, GPUs in hours of one GPU.

    `kinds` has a row a kind of stage; `failures` one for each kind and class of failure; `devices` one for each GPU or
    processor, `hosts` the attempts of each node. `shared_hours` is what equal stages would have cost again had every
    experiment computed all that it stands on, `resumed_hours` what resumed attempts did not repeat, at their own pace.
    """

    kinds: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    devices: list[dict[str, Any]] = field(default_factory=list)
    hosts: list[tuple[str, int]] = field(default_factory=list)
    first: float | None = None
    last: float | None = None
    hours: float = 0.0
    gpu_hours: float = 0.0
    lost_hours: float = 0.0
    shared_hours: float = 0.0
    shared_gpu_hours: float = 0.0
    shared_stages: int = 0
    resumed_hours: float = 0.0
    resumed_attempts: int = 0


def cost_of(source: Source) -> Cost:
    """The cost of all attempts in a workspace that ended."""
    frame = _frame(source)
    if frame.empty:
        return Cost()
    won = frame[frame["ending"].isin(["done", "diverged"])].drop_duplicates("stage", keep="last")
    counts = uses(source.members, source.parents)
    again = np.array([max(counts.get(stage, 1) - 1, 0) for stage in won["stage"]], float)
    resumed = _resumed(frame)
    return Cost(
        kinds=_kinds(frame),
        failures=_failures(frame),
        devices=_devices(frame),
        hosts=[(str(host), int(count)) for host, count in frame["host"].value_counts().items()],
        first=float(frame["started"].min()),
        last=float(frame["ended"].max()),
        hours=float(frame["hours"].sum()),
        gpu_hours=float((frame["hours"] * frame["gpus"]).sum()),
        lost_hours=float(frame.loc[~frame["ending"].isin(FINE), "hours"].sum()),
        shared_hours=float((again * won["hours"]).sum()),
        shared_gpu_hours=float((again * won["hours"] * won["gpus"]).sum()),
        shared_stages=int((again > 0).sum()),
        resumed_hours=float(resumed.sum()),
        resumed_attempts=len(resumed),
    )


def uses(members: pa.Table, parents: pa.Table) -> dict[str, int]:
    """How many experiments have each stage among their own or stand on it.

    Pairs of an experiment and a stage are followed along the edges of the graph until nothing new is found.
    """
    columns = [members["stage"], parents["stage"], parents["parent"]]
    stages = pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string()).unique()
    owner = members["experiment"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    own, child, parent = (pc.index_in(column, value_set=stages).to_numpy() for column in columns)
    order = np.argsort(child, kind="stable")
    bounds = np.searchsorted(child[order], np.arange(len(stages) + 1))
    newest = known = np.unique(owner.astype(np.int64) * len(stages) + own)
    while len(newest):
        holder, stage = np.divmod(newest, len(stages))
        counts = bounds[stage + 1] - bounds[stage]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        above = parent[order[np.repeat(bounds[stage], counts) + within]]
        reached = np.unique(np.repeat(holder, counts) * len(stages) + above)
        newest = np.setdiff1d(reached, known, assume_unique=True)
        known = np.union1d(known, newest)
    numbers = np.bincount(known % max(len(stages), 1), minlength=len(stages))
    return dict(zip(stages.to_pylist(), numbers.tolist(), strict=True))


def _frame(source: Source) -> pd.DataFrame:
    """The attempts with their hours and the GPUs of their stage's shape."""
    columns = ["stage", "kind", "host", "started", "ended", "ending", "step", "resumed_from", "message"]
    seconds = [f"seconds_{part}" for part in PARTS]
    frame: pd.DataFrame = source.attempts.select([*columns, *seconds, "fingerprint"]).to_pandas()
    gpus = {
        row.stage: float(plan.shapes.get(row.shape, {}).get("gpus") or 0)
        for plan in source.plans
        for row in plan.stages
    }
    frame["gpus"] = np.array([gpus.get(stage, 0.0) for stage in frame["stage"]], float)
    frame["hours"] = ((frame["ended"] - frame["started"]) / 3600).clip(lower=0).fillna(0.0)
    return frame


def _kinds(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for kind, part in frame.groupby("kind", sort=True):
        rows.append(
            {
                "kind": kind,
                "stages": int(part["stage"].nunique()),
                "attempts": len(part),
                "hours": float(part["hours"].sum()),
                "gpu_hours": float((part["hours"] * part["gpus"]).sum()),
                **{name: float(part[f"seconds_{name}"].sum()) / 3600 for name in PARTS},
            }
        )
    return rows


def _failures(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The attempts that ended otherwise than they should, by kind and class, the most frequent first."""
    failed = frame[~frame["ending"].isin(FINE)]
    rows = [
        {
            "kind": kind,
            "ending": ending,
            "attempts": len(part),
            "stages": int(part["stage"].nunique()),
            "hours": float(part["hours"].sum()),
            "example": next((text for text in part["message"] if isinstance(text, str)), ""),
        }
        for (kind, ending), part in failed.groupby(["kind", "ending"], sort=True)
    ]
    return sorted(rows, key=lambda row: -row["attempts"])


def _devices(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """On what the attempts ran: GPU or processor, with the versions of the libraries."""
    rows = []
    for text, count in frame["fingerprint"].value_counts().items():
        facts = _facts(str(text))
        if facts:
            device = facts.get("gpu") or facts.get("processor") or "unknown"
            versions = {name: value for name, value in facts.items() if name not in ("gpu", "processor")}
            rows.append({"device": str(device), "attempts": int(count), "versions": versions})
    return rows


def _facts(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _resumed(frame: pd.DataFrame) -> "pd.Series[float]":
    """Hours that each resumed attempt would have needed to come to where it began, at its own pace."""
    taken = frame[(frame["resumed_from"] > 0) & (frame["step"] > frame["resumed_from"])]
    pace = taken["seconds_compute"].fillna(0.0) / (taken["step"] - taken["resumed_from"])
    return taken["resumed_from"] * pace / 3600
