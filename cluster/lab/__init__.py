"""A Slurm lab: a real cluster of virtual nodes on one machine, for tests and for trying Yates out."""
