"""How a job runs: processes, ranks, arithmetic, signals, progress, and what is said of it."""
