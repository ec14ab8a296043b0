"""Accept requests of the text-message API: choose the connection, check the links, record the text."""

from waypost.domain.providers.connection import Connection
from waypost.domain.texts.client import TextClient
from waypost.domain.texts.request import TextRequest
from waypost.engine.providers.registry import ConnectionRegistry
from waypost.engine.runtime.journal import Journal
from waypost.engine.texts.area import NewText, TextAccepted
from waypost.errors import Error, Unavailable


class Texts:
    """Accepts texts of clients."""

    def __init__(self, journal: Journal, connections: ConnectionRegistry) -> None:
        self._journal = journal
        self._connections = connections

    async def send(self, client: TextClient, request: TextRequest, *, test: bool = False) -> TextAccepted:
        """Record a text and return the answer, which is durable. Raise an Error if it is refused."""
        text = NewText(client=client, request=request, connection=self._connection(client), test=test)
        try:
            await self._journal.append([text])
        except Error as error:
            # All callers of the batch share the error; each raises a copy with a traceback of its own.
            raise type(error)(error.detail, code=error.code, **error.extra) from None
        except Exception as error:
            raise Unavailable("The text could not be stored. Send it again.") from error
        answer = text.answer
        if answer is None:
            raise Unavailable("The text could not be stored. Send it again.")
        if isinstance(answer, Error):
            raise answer
        return answer

    def _connection(self, client: TextClient) -> Connection:
        known = self._connections
        if client.connection_id is not None:
            found = known.get(client.workspace_id, client.connection_id)
            if found is not None and found.status != "disabled":
                return found
        else:
            # What is queued for a paused connection is sent when somebody has repaired it.
            order = known.preferred(client.workspace_id, "sms") or known.paused(client.workspace_id, "sms")
            if order:
                return order[0]
        raise Unavailable(
            "No connection can send texts for this client. Enable one for sms, then send the text again.",
            code="no_connection",
            retry_after=60,
        )
