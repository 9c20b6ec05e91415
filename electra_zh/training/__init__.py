"""Training independent of the model: loop, optimizer, checkpoints, logs."""
