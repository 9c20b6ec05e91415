"""Helpers of several test modules: small networks, task files, data folders, commands."""
