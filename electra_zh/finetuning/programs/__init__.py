"""Fine-tuning on devices: steps and outputs of tasks as programs, and their runs by JAX."""
