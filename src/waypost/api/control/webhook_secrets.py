"""The signing secrets of webhook endpoints: get, rotate, and the public key."""

from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from waypost.api.control.calls import SECRET, Call, permit
from waypost.api.control.webhooks import webhook_id, when
from waypost.domain.webhooks.signing import public_key
from waypost.engine.webhooks import endpoints
from waypost.errors import Conflict
from waypost.storage.database import Tx


class PreviousSecret(msgspec.Struct):
    """A rotated secret that still signs until it expires."""

    secret: str
    expires_at: str | None


class SigningSecret(msgspec.Struct):
    """The signing secret of an endpoint."""

    secret: str
    previous: list[PreviousSecret]


class RotateSecret(msgspec.Struct, forbid_unknown_fields=True):
    """Options for rotating a secret."""

    overlap: Annotated[
        int, Meta(description="Seconds for which the old secret also signs.", ge=0, le=endpoints.LONGEST_OVERLAP_S)
    ] = 86_400
    #: The new secret; generated if it is not given.
    secret: str | None = None


class SecretRotated(msgspec.Struct):
    """The new secret, and when the previous one expires."""

    secret: str
    previous_expires_at: str | None


class PublicKey(msgspec.Struct):
    """The public key that verifies `v1a` signatures."""

    public_key: str


@get("/v1/webhooks/{id:str}/secret", summary="Get the signing secret", opt={**SECRET, "statuses": {"409"}})
async def get_webhook_secret(call: NamedDependency[Call], id: FromPath[str]) -> SigningSecret:
    """Returns the signing secret, and previous ones that still sign. Requires an API key with the scope `manage`."""
    webhook = await call.read(endpoints.find_webhook, call.engine.encryption, call.workspace_id, webhook_id(id))
    if not webhook.secrets:
        raise endpoints.not_signed()
    present, *older = webhook.secrets
    return SigningSecret(
        present.text,
        [PreviousSecret(old.text, when(old.expires_at)) for old in older if (old.expires_at or 0) > call.now],
    )


@post(
    "/v1/webhooks/{id:str}/secret/rotate",
    status_code=200,
    summary="Rotate the signing secret",
    opt={**SECRET, "body": RotateSecret},
)
async def rotate_webhook_secret(call: NamedDependency[Call], id: FromPath[str]) -> Response[SecretRotated]:
    """Starts to sign with a new secret. For the overlap the old secret also signs, so either one verifies."""
    body = await call.body(RotateSecret)
    engine = call.engine

    async def work(tx: Tx) -> SecretRotated:
        webhook = await endpoints.rotate_secret(
            tx, engine.encryption, call.workspace_id, webhook_id(id), body.secret, body.overlap, call.now
        )
        present, *older = webhook.secrets
        return SecretRotated(present.text, when(older[0].expires_at) if older else None)

    response = await call.perform(200, work)
    await call.refresh()
    return response


@get(
    "/v1/webhooks/{id:str}/public-key",
    summary="Get the public key of a v1a endpoint",
    opt={"statuses": {"409"}},
)
async def get_webhook_public_key(call: NamedDependency[Call], id: FromPath[str]) -> PublicKey:
    """Returns the public key that verifies `v1a` signatures. Endpoints with `v1` signatures have none."""
    webhook = await call.read(endpoints.find_webhook, call.engine.encryption, call.workspace_id, webhook_id(id))
    if webhook.signature != "v1a":
        raise Conflict(
            "This endpoint uses v1 signatures, which have no public key. Create an endpoint with `signature` v1a.",
            code="no_public_key",
        )
    return PublicKey(public_key(webhook.secrets[0].text))


ROUTES = permit("webhooks", [get_webhook_secret, rotate_webhook_secret, get_webhook_public_key])
