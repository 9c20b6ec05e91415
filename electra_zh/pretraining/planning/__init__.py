"""Plans of a run before it is started: its size, its speed, and the steps that fit a time."""
