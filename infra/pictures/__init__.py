"""Pictures of what an operator looks at, drawn without AWS: `python -m infra.pictures`."""
