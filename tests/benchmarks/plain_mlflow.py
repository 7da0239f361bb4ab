"""MLflow alone, run by an interpreter that has it: `python plain_mlflow.py URI RUNS METRICS`.

Writes the runs, each with one `log_batch`, and answers the queries of `test_mlflow.py`; prints wall and processor
seconds of each as JSON, imports apart.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import mlflow
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

FACTORS = 4


def timed(action: Callable[[], Any]) -> tuple[list[float], Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    answer = action()
    return [time.perf_counter() - wall, time.process_time() - cpu], answer


def write(client: MlflowClient, experiment: str, runs: int, metrics: int) -> None:
    for number in range(runs):
        run = client.create_run(experiment, run_name=f"run {number}").info.run_id
        values = [
            Metric(f"task{t}", (number * 31 + t) % 997 / 997, 1_700_000_000_000, 0) for t in range(metrics)
        ]
        levels = [Param(f"factor{k}", f"level{number // 5**k % 5}") for k in range(FACTORS)]
        client.log_batch(run, values, levels)
        client.set_terminated(run)


def main() -> None:
    uri, runs, metrics = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    mlflow.set_tracking_uri(uri)
    client = MlflowClient()
    experiment = client.create_experiment("study")
    found = {"version": mlflow.__version__}
    found["write"], _ = timed(lambda: write(client, experiment, runs, metrics))

    def table() -> Any:
        return mlflow.search_runs([experiment], max_results=100_000)

    found["table"], frame = timed(table)

    def group() -> Any:
        return (
            table().groupby(["params.factor0", "params.factor1"])[["metrics.task0", "metrics.task1"]].mean()
        )

    found["group"], means = timed(group)
    chosen = "params.factor0 = 'level1' and metrics.task0 > 0.9"
    found["filter"], some = timed(lambda: mlflow.search_runs([experiment], chosen, max_results=100_000))
    found["rows"] = [len(frame), len(means), len(some)]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
