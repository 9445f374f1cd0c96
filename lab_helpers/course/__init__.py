"""Labs, tasks, verdicts: what a lesson declares, and the engine that checks, solves, resets and proves it."""
