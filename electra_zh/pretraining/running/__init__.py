"""The course of a run: its data, its steps and checkpoints in their order, its lines of metrics."""
