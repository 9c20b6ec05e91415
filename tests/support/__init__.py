"""What several test modules share: made text, small networks, files of tasks, commands."""
