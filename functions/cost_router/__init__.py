"""Claude Cost Router: everything that runs in AWS Lambda."""

__version__ = "0.1.0"
