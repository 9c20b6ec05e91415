"""The networks, shared by every command."""
