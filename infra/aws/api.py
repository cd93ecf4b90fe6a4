"""The front door: a regional REST API that hands every path to the router function."""

import json
from dataclasses import dataclass
from typing import Final

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.aws.gateway_replies import REPLIES
from infra.aws.nag import acknowledge

# Neither bodies nor query strings nor keys.
ACCESS_LOG: Final = {
    "request_id": "$context.requestId",
    "at": "$context.requestTime",
    "method": "$context.httpMethod",
    "path": "$context.path",
    "status": "$context.status",
    "source_ip": "$context.identity.sourceIp",
    "user_agent": "$context.identity.userAgent",
    "latency_ms": "$context.responseLatency",
    "integration_latency_ms": "$context.integrationLatency",
    "response_bytes": "$context.responseLength",
    "error": "$context.error.responseType",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiStage:
    """How the one stage serves: all callers share the throttle."""

    name: str
    streaming: bool
    timeout: Duration
    throttle_rate: int  # requests a second
    throttle_burst: int


class Api(Construct):
    """One stage; the app behind it knows the paths, checks the keys and answers what it does not serve."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        function: lambda_.IFunction,
        stage: ApiStage,
        log_retention: logs.RetentionDays,
    ) -> None:
        super().__init__(scope, id_)
        access_log = logs.LogGroup(self, "Access", retention=log_retention, removal_policy=RemovalPolicy.DESTROY)
        self.rest_api = apigateway.RestApi(
            self,
            "Rest",
            rest_api_name=f"claude-cost-router-{stage.name}",
            description="Claude Cost Router: the Messages API, each request on the cheapest tier that can do it.",
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            default_integration=_integration(function, stage),
            cloud_watch_role=True,  # API Gateway writes access logs with one role for the whole account and region
            deploy_options=apigateway.StageOptions(
                stage_name=stage.name,
                throttling_rate_limit=stage.throttle_rate,
                throttling_burst_limit=stage.throttle_burst,
                access_log_destination=apigateway.LogGroupLogDestination(access_log),
                access_log_format=apigateway.AccessLogFormat.custom(json.dumps(ACCESS_LOG)),
            ),
        )
        self.rest_api.root.add_proxy(any_method=True)  # adds itself to the root too
        self.rest_api.node.try_remove_child("Endpoint")  # CDK's own output of the URL; the stack has one
        self._reply_in_anthropics_shape()
        self._acknowledge()
        stack = Stack.of(self)
        self.url = f"https://{self.rest_api.rest_api_id}.execute-api.{stack.region}.{stack.url_suffix}/{stage.name}"

    def _reply_in_anthropics_shape(self) -> None:
        for reply in REPLIES:
            self.rest_api.add_gateway_response(
                reply.type.response_type,
                type=reply.type,
                status_code=str(reply.status) if reply.status else None,
                response_headers=reply.quoted_headers,
                templates={"application/json": reply.template},
            )

    def _acknowledge(self) -> None:
        keys = "The app checks gateway keys itself: one hop less than an authorizer, and the same wherever it runs."
        acknowledge(self.rest_api, "AwsSolutions-APIG4", keys)
        acknowledge(self.rest_api, "AwsSolutions-COG4", keys)
        schemas = "The app validates bodies: a model of the gateway would refuse fields that Anthropic adds tomorrow."
        acknowledge(self.rest_api, "AwsSolutions-APIG2", schemas)
        firewall = "A web ACL costs $5 a month, and keys are checked before a body is read; one can be attached."
        acknowledge(self.rest_api, "AwsSolutions-APIG3", firewall)
        execution = "The access log has status and error; execution logs go to a group without a retention."
        acknowledge(self.rest_api, "AwsSolutions-APIG6", execution)
        managed = "AWS's own policy for the account-wide role with which API Gateway writes logs."
        policy = "Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
        acknowledge(self.rest_api, f"AwsSolutions-IAM4[{policy}]", managed)


def _integration(function: lambda_.IFunction, stage: ApiStage) -> apigateway.LambdaIntegration:
    mode = apigateway.ResponseTransferMode.STREAM if stage.streaming else apigateway.ResponseTransferMode.BUFFERED
    return apigateway.LambdaIntegration(
        function,
        proxy=True,
        timeout=stage.timeout,
        allow_test_invoke=False,
        scope_permission_to_method=False,  # root and proxy are everything: one permission says so
        response_transfer_mode=mode,
    )
