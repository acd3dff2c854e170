"""What the machine and PostgreSQL can do at best: the measure of everything else."""
