"""The ledger of deliveries: accepted = delivered + pending + dead, and the rows agree with the counts."""

from collections.abc import Iterable

import msgspec


class Balance(msgspec.Struct, frozen=True):
    """The counted deliveries of one endpoint, or the sum over several."""

    accepted: int = 0
    delivered: int = 0
    pending: int = 0
    dead: int = 0

    @property
    def balanced(self) -> bool:
        """Whether every accepted delivery is accounted for."""
        return self.accepted == self.delivered + self.pending + self.dead

    def __add__(self, other: "Balance") -> "Balance":
        return Balance(
            self.accepted + other.accepted,
            self.delivered + other.delivered,
            self.pending + other.pending,
            self.dead + other.dead,
        )


def disagreements(
    counted: dict[int, Balance], rows: Iterable[tuple[int, str, int]], names: dict[int, str]
) -> list[str]:
    """Return one sentence per disagreement: counts that do not add up, or that contradict the rows.

    `rows` are (endpoint id, state, count). Delivered and dead rows may be fewer than counted, since retention deletes
    them with their events; pending rows may not.
    """
    raw: dict[int, dict[str, int]] = {}
    for endpoint_id, state, count in rows:
        raw.setdefault(endpoint_id, {})[state] = count
    found = []
    for endpoint_id in sorted(counted.keys() | raw.keys()):
        name = names.get(endpoint_id, str(endpoint_id))
        balance = counted.get(endpoint_id, Balance())
        states = raw.get(endpoint_id, {})
        if not balance.balanced:
            found.append(
                f"{name}: accepted {balance.accepted} is not delivered {balance.delivered} + pending {balance.pending} "
                f"+ dead {balance.dead}"
            )
        if states.get("pending", 0) != balance.pending:
            found.append(f"{name}: {states.get('pending', 0)} pending rows, but {balance.pending} counted")
        for state, count in (("delivered", balance.delivered), ("dead", balance.dead)):
            if states.get(state, 0) > count:
                found.append(f"{name}: {states[state]} {state} rows, but only {count} counted")
    return found
