"""The System One API of decision models, which answer typed questions and write no text."""

from starlette.routing import Route

from keyless.http.adapter import adapter
from keyless.http.provider import Provider
from keyless.providers.systemone import codec

PROVIDER = Provider(
    "systemone", codec.DIALECT, [Route("/v1/systemone", adapter(codec.DIALECT)(codec.answered), methods=["POST"])]
)
