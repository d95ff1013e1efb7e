"""Google's Vertex AI and the Gemini API."""

from keyless.http.provider import Provider
from keyless.providers.google import auth, batches, caches, embeddings, files, generate
from keyless.providers.google.errors import DIALECT
from keyless.providers.google.state import State

PROVIDER = Provider(
    "google",
    DIALECT,
    routes=[
        *auth.routes,
        *caches.routes,
        *files.routes,
        *batches.routes,
        *generate.routes,
        *embeddings.routes,
        # To be tried last: what comes here is no action of any of them.
        *generate.fallback,
    ],
    state=State,
)
