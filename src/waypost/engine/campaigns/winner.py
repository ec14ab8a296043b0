"""Choose the variant that did best with the sample of a campaign."""

from waypost.engine.campaigns.occurrences import OpenOccurrence
from waypost.storage.database import Tx

#: What is counted for each way to choose.
KINDS = {"opens": "opened_unique", "clicks": "clicked_unique", "conversions": "converted"}


async def choose_winner(tx: Tx, one: OpenOccurrence) -> str | None:
    """Return the winner of the test of an occurrence, and keep it: the first decision counts, on whatever process.

    It is the variant with the highest rate of people who did what counts, of those whom it was sent to; None as long as
    nobody did anything: then everybody gets a variant by the weights.
    """
    test = one.definition.test
    if test is None:
        return None
    sent: dict[str, int] = {}
    did: dict[str, int] = {}
    for kind, _, _, variant, n in await tx.rows("campaign_counts.sums", ids=[one.id]):
        if variant and kind == "sent":
            sent[variant] = sent.get(variant, 0) + n
        elif variant and kind == KINDS[test.winner_by]:
            did[variant] = did.get(variant, 0) + n
    rates = {variant: n / max(sent.get(variant, 0), 1) for variant, n in did.items() if n > 0}
    if not rates:
        return None
    winner = max(sorted(rates), key=lambda variant: rates[variant])
    if await tx.run("occurrences.set_winner", id=one.id, winner=winner):
        return winner
    row = await tx.row("occurrences.winner", id=one.id)
    return row[0] if row else winner
