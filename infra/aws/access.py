"""How the functions get to Claude: a key in Secrets Manager, or the functions' own roles."""

from typing import Final

from aws_cdk import RemovalPolicy, SecretValue, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from cost_router.contract import SECRET_PLACEHOLDER
from infra.aws.nag import acknowledge

HOW_TO_STORE: Final = (
    "Anthropic API key of the Claude Cost Router. "
    "Store it with: aws secretsmanager put-secret-value --secret-id ARN --secret-string KEY"
)

HOW_TO_STORE_ADMIN: Final = (
    "Admin API key (or one with the scope read:analytics) with which the Claude Cost Router compares its ledger with "
    "the bill. Store it with: aws secretsmanager put-secret-value --secret-id ARN --secret-string KEY"
)


class ClaudeAccess(Construct):
    """`secret_arn` is empty when requests are signed with the role (provider `aws`)."""

    def __init__(self, scope: Construct, id_: str, *, provider: str, workspace_id: str, reconcile: bool) -> None:
        super().__init__(scope, id_)
        self.workspace_id = workspace_id
        self.secret = self._secret("AnthropicKey", HOW_TO_STORE) if provider == "anthropic" else None
        self.secret_arn = self.secret.secret_arn if self.secret else ""
        self.admin_secret = self._secret("AdminKey", HOW_TO_STORE_ADMIN) if reconcile else None
        self.admin_secret_arn = self.admin_secret.secret_arn if self.admin_secret else ""

    def allow(self, function: lambda_.Function) -> None:
        """Let a function call Claude."""
        self._allow(function, ["CreateInference"])  # POST /v1/messages

    def allow_counting(self, function: lambda_.Function) -> None:
        """Let a function count tokens: an action of its own where calls are signed; with the key it may anyway."""
        if not self.secret:
            self._allow(function, ["CountTokens"])  # POST /v1/messages/count_tokens

    def allow_batches(self, function: lambda_.Function) -> None:
        """Let a function use the Message Batches API, whose calls have actions of their own.

        Source: IAM actions (Claude Platform on AWS). `GetBatchInference` covers the results too.
        """
        self._allow(
            function,
            [
                "CreateBatchInference",
                "GetBatchInference",
                "ListBatchInferences",
                "CancelBatchInference",
            ],
        )

    def _allow(self, function: lambda_.Function, names: list[str]) -> None:
        if self.secret:
            actions, resource = ["secretsmanager:GetSecretValue"], self.secret.secret_arn
        else:
            stack = Stack.of(self)
            actions = [f"aws-external-anthropic:{name}" for name in names]
            resource = stack.format_arn(
                service="aws-external-anthropic", resource="workspace", resource_name=self.workspace_id
            )
        function.add_to_role_policy(iam.PolicyStatement(actions=actions, resources=[resource]))

    def allow_bill(self, function: lambda_.Function) -> None:
        """Let a function read the provider's bill."""
        if self.admin_secret:
            self.admin_secret.grant_read(function)

    def _secret(self, id_: str, description: str) -> secretsmanager.Secret:
        secret = secretsmanager.Secret(
            self,
            id_,
            description=description,
            # Not a secret yet: the functions know this text and answer with how to store the key.
            secret_string_value=SecretValue.unsafe_plain_text(SECRET_PLACEHOLDER),
            removal_policy=RemovalPolicy.DESTROY,
        )
        reason = "Anthropic has no API to rotate a key; a key that an operator stores anew is read within five minutes."
        acknowledge(secret, "AwsSolutions-SMG4", reason)
        return secret
