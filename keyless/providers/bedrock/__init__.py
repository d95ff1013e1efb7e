"""Amazon Bedrock's runtime API."""

from keyless.http.provider import Provider
from keyless.providers.bedrock import converse, invoke
from keyless.providers.bedrock.errors import DIALECT

PROVIDER = Provider("bedrock", DIALECT, routes=[*converse.routes, *invoke.routes])
