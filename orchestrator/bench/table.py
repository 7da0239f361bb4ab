"""The figures of `yates bench` as a table for the person."""

from orchestrator.bench.report import Row

COLUMNS = ("stage", "micro-\nbatch", "fits", "of a", "takes", "planned", "memory", "planned")
"""Before the last one, `on`, which alone is folded where the terminal is narrow."""


def print_bench(rows: list[Row], experiments: int) -> None:
    """One line a stage, and below why some have no figures."""
    from rich.console import Console
    from rich.table import Column, Table

    console = Console()
    kept = [Column(name, no_wrap=True) for name in COLUMNS]
    table = Table(*kept, Column("on", overflow="fold"), box=None)
    for row in rows:
        table.add_row(
            row.stage,
            "whole" if row.micro_batch is None else str(row.micro_batch),
            _fits(row.largest_micro_batch),
            row.unit or "",
            _seconds(row.seconds),
            _seconds(row.planned_seconds),
            _gigabytes(row.gigabytes),
            _gigabytes(row.planned_gigabytes),
            _place(row),
        )
    console.print(
        f"{len(rows)} stages of a grid of {experiments} experiments, each cut short", highlight=False
    )
    console.print(table)
    for row in rows:
        if row.note is not None:
            console.print(f"{row.stage}: {row.note}", highlight=False, markup=False, soft_wrap=True)


def _place(row: Row) -> str:
    """`cpu`, or `2 × H100 80GB HBM3 (ddp)`."""
    device = row.on.removeprefix("NVIDIA ")
    return device if row.strategy == "single" else f"{row.processes} × {device} ({row.strategy})"


def _fits(micro_batch: int | None) -> str:
    if micro_batch is None:
        return ""
    return str(micro_batch or "none")


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f} s" if value >= 10 else f"{value:.3g} s"


def _gigabytes(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} GB"
