"""Training that knows nothing of what is trained: loop, optimizer, checkpoints, logs."""
