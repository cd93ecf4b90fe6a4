"""Who is calling: the gateway key, in either header, finds the tenant by its hash, before the body is read."""

import hashlib
from collections.abc import Mapping
from typing import Final

from cost_router.core.errors import Unauthenticated
from cost_router.core.ports import Tenants
from cost_router.core.request import Tenant

ACCEPTED: Final = "accepted: a gateway key as 'Authorization: Bearer KEY' or 'x-api-key: KEY'"


def key_hash(key: str) -> str:
    """What the `tenants` table knows of a key. Keys are 256 random bits, so that a plain SHA-256 cannot be guessed."""
    return hashlib.sha256(key.encode()).hexdigest()


async def authenticate(headers: Mapping[str, str], tenants: Tenants) -> Tenant:
    """The tenant whose key came with the request; raises `Unauthenticated`, and `StoreError` when nobody can tell."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    keys = [headers.get("x-api-key", ""), token.strip() if scheme.lower() == "bearer" else ""]
    if not any(keys):
        raise Unauthenticated(f"no gateway key was sent; {ACCEPTED}")
    # SDKs send both when both are in their environment, one of which may be meant for Anthropic itself.
    for key in dict.fromkeys(filter(None, keys)):
        if tenant := await tenants.by_key(key_hash(key)):
            return tenant
    raise Unauthenticated(f"the gateway key is unknown or disabled; {ACCEPTED}")
