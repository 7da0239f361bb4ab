"""The `slurm` backend: job arrays through submitit, and what squeue and sacct tell of them."""
