"""What surrounds the deployed code: the stack, the local stack, the operator's commands, the measures."""
