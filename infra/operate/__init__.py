"""The operator's commands, against the local stack or any deployment."""
