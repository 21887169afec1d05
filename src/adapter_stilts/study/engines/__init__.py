"""Where the runs of a study are done: on this machine, on a Ray cluster, or by Slurm."""
