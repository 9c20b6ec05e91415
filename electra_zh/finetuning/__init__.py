"""Fine-tuning: tasks as data, one file a kind of task, training, scores, submissions."""
