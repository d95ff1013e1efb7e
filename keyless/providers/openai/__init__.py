"""OpenAI's API."""

from keyless.http.provider import Provider
from keyless.providers.openai import batches, chat, embeddings, files, images, moderations, responses
from keyless.providers.openai.errors import DIALECT

PROVIDER = Provider(
    "openai",
    DIALECT,
    routes=[
        *chat.routes,
        *responses.routes,
        *embeddings.routes,
        *images.routes,
        *files.routes,
        *batches.routes,
        *moderations.routes,
    ],
    state=responses.Responses,
)
