"""cdk-nag's AwsSolutions rules: each exemption stands next to what it is about, with its reason."""

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct


def acknowledge(construct: IConstruct, rule: str, reason: str) -> None:
    """Exempt a construct from a rule, such as `AwsSolutions-S1` or `AwsSolutions-IAM5[Action::s3:*]`."""
    Validations.of(construct).acknowledge(Acknowledgment(id=rule, reason=reason))
