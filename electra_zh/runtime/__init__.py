"""The training step on any device: as a program of StableHLO that PJRT, through JAX, compiles."""
