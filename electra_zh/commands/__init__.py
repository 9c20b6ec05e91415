"""The commands: a module a group, the flags of each command beside what it does.

Everything heavy is imported inside a command. What can be found wrong without TensorFlow is said
before its seconds of loading.
"""
