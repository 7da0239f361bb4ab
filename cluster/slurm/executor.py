"""sbatch through submitit: its script and its checks of parameters, with a command of our own.

submitit's usual jobs unpickle a function and pickle its result. Ours start from what the workspace says, so a job
needs nothing that its driver would have had to write after sbatch, and nothing reads a pickle.
"""

import os
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError, FailedSubmissionError

from cluster.slurm.commands import SlurmError, refusal


class ArrayExecutor(SlurmExecutor):  # type: ignore[misc]
    """A submitit executor that submits one command as an array of `count` elements."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder)

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        """sbatch without the variables of a surrounding job, which would reach into the new one.

        A job that inherits both SLURM_MEM_PER_CPU and SLURM_MEM_PER_NODE, for example, cannot start srun, and
        SBATCH_PARTITION goes before what the script says.
        """
        foreign = [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_", "SRUN_"))]
        unset = [part for name in foreign if name != "SLURM_CONF" for part in ("-u", name)]
        return ["env", *unset, "sbatch", str(submission_file_path)]

    def submit_array(self, command: str, count: int | None) -> str:
        """Call sbatch once; return the number of the job. `count` None makes a job that is no array.

        Raises:
            SlurmError: sbatch refused (see `cluster.slurm.commands` for its kinds).
        """
        if count is not None:
            self.parameters["map_count"] = count
        try:
            return str(self._submit_command(command).job_id)
        except (FailedJobError, FailedSubmissionError) as error:
            raise refusal("sbatch", str(error)) from None


def make_executor(folder: Path, parameters: dict[str, Any]) -> ArrayExecutor:
    """An executor with these parameters, checked by submitit.

    Raises:
        SlurmError: srun is not installed, or a parameter is none of sbatch's.
    """
    try:
        executor = ArrayExecutor(folder)
        executor.update_parameters(**parameters)
    except (RuntimeError, ValueError) as error:
        raise SlurmError(str(error)) from None
    return executor
