"""The settings of single sign-on: the provider of each workspace, and the domains by which it is found."""

from typing import Any

import msgspec

from waypost.domain.accounts.permissions import Role
from waypost.domain.accounts.single_sign_on import SignOnProvider
from waypost.engine.runtime.encryption import Encryption
from waypost.errors import NotFound
from waypost.storage.database import Tx

#: The most providers that one domain of email addresses leads to.
MOST_OF_DOMAIN = 20
#: What is deleted with a provider.
REST_OF_PROVIDER = (
    "single_sign_on.delete_domains",
    "single_sign_on.delete_identities",
    "single_sign_on.end_sessions",
)


async def get_provider(tx: Tx, encryption: Encryption, workspace_id: int) -> SignOnProvider:
    """Return the provider of a workspace. Raise NotFound if it has none."""
    found = await _find(tx, workspace_id)
    if found is None:
        raise _no_provider()
    return msgspec.structs.replace(found, client_secret=encryption.decrypt(found.client_secret))


async def any_provider(tx: Tx) -> bool:
    """Return whether a workspace has single sign-on."""
    row = await tx.row("single_sign_on.any")
    return bool(row and row[0])


async def find_providers(tx: Tx, domain: str) -> list[dict[str, Any]]:
    """Return the providers for a domain of email addresses: `workspace_id`, `label` and `issuer` of each."""
    return await tx.records("single_sign_on.of_domain", domain=domain, n=MOST_OF_DOMAIN)


async def set_provider(tx: Tx, encryption: Encryption, provider: SignOnProvider, now: int) -> None:
    """Set the provider of a workspace. What the one before has opened ends if this one might not open it."""
    workspace_id = provider.workspace_id
    before = await _find(tx, workspace_id)
    if before is not None and provider.narrows(before):
        await tx.run("single_sign_on.end_sessions", workspace_id=workspace_id)
    if before is not None and provider.issuer != before.issuer:
        await tx.run("single_sign_on.delete_identities", workspace_id=workspace_id)
    await tx.run(
        "single_sign_on.set",
        workspace_id=workspace_id,
        label=provider.label,
        issuer=provider.issuer,
        client_id=provider.client_id,
        client_secret=encryption.encrypt(provider.client_secret),
        role=provider.role.value if provider.role else None,
        owners=int(provider.owners),
        trusts_mfa=int(provider.trusts_mfa),
        now=now,
    )
    await tx.run("single_sign_on.delete_domains", workspace_id=workspace_id)
    for position, domain in enumerate(provider.domains):
        await tx.run("single_sign_on.add_domain", domain=domain, workspace_id=workspace_id, position=position)


async def delete_provider(tx: Tx, workspace_id: int) -> None:
    """Delete the provider of a workspace and whom it meant, and end the sessions that it has opened."""
    if not await tx.run("single_sign_on.delete", workspace_id=workspace_id):
        raise _no_provider()
    for query in REST_OF_PROVIDER:
        await tx.run(query, workspace_id=workspace_id)


async def _find(tx: Tx, workspace_id: int) -> SignOnProvider | None:
    """Return the provider of a workspace with its secret as it is stored; None if it has none."""
    found = await tx.records("single_sign_on.get", workspace_id=workspace_id)
    if not found:
        return None
    row, domains = found[0], await tx.rows("single_sign_on.domains", workspace_id=workspace_id)
    return SignOnProvider(
        workspace_id=workspace_id,
        label=row["label"],
        issuer=row["issuer"],
        client_id=row["client_id"],
        client_secret=row["client_secret"],
        domains=tuple(domain for (domain,) in domains),
        role=None if row["role"] is None else Role(row["role"]),
        owners=bool(row["owners"]),
        trusts_mfa=bool(row["trusts_mfa"]),
        updated_at=row["updated_at"],
    )


def _no_provider() -> NotFound:
    return NotFound("The workspace has no single sign-on. PUT /v1/workspace/single-sign-on sets it up.")
