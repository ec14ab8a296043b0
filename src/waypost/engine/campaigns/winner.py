"""Choose the variant that did best with the sample of a campaign."""

from waypost.clock import now_us
from waypost.domain.campaigns.campaign import winning_variant
from waypost.engine.campaigns.occurrences import OpenOccurrence
from waypost.storage.database import Tx

#: What is counted for each way to choose.
KINDS = {"opens": "opened_unique", "clicks": "clicked_unique", "conversions": "converted"}


async def choose_winner(tx: Tx, one: OpenOccurrence) -> str | None:
    """Return the winner of the test of an occurrence, and store the decision, unless a process has.

    None if no variant won: then everybody gets one by the weights, whatever happens later.
    """
    test = one.definition.test
    if test is None:
        return None
    stored = await tx.row("occurrences.winner", id=one.id)
    if stored is not None and stored[1] is not None:
        return str(stored[0]) if stored[0] is not None else None
    sent: dict[str, int] = {}
    did: dict[str, int] = {}
    for kind, _, _, variant, n in await tx.rows("campaign_counts.sums", ids=[one.id]):
        if variant and kind == "sent":
            sent[variant] = sent.get(variant, 0) + n
        elif variant and kind == KINDS[test.winner_by]:
            did[variant] = did.get(variant, 0) + n
    winner = winning_variant(sent, did, test.minimum)
    if await tx.run("occurrences.decide", id=one.id, winner=winner, now=now_us()):
        return winner
    # Another process decided meanwhile.
    stored = await tx.row("occurrences.winner", id=one.id)
    return str(stored[0]) if stored is not None and stored[0] is not None else None
