"""Lists of contacts: the states of members, and `move_member`, the only function that changes one; and tags."""

from enum import StrEnum

from waypost.errors import Invalid

#: The most characters of a tag.
LONGEST_TAG = 100
#: The path of the page on which people confirm; a token follows.
CONFIRM_PATH = "/l/"

_SUBJECT = "Please confirm: {{ list.name }}"
_TEXT = """Hello,

please confirm that you want to be on the list "{{ list.name }}":

{{ confirm_url }}

If you did not ask for this, ignore this mail: nothing is sent to you without your confirmation.
"""
_HTML = """<p>Hello,</p>
<p>please confirm that you want to be on the list <b>{{ list.name | escape }}</b>:</p>
<p><a href="{{ confirm_url }}">Yes, I want to be on the list</a></p>
<p>If you did not ask for this, ignore this mail: nothing is sent to you without your confirmation.</p>
"""


class MemberState(StrEnum):
    """Where a person stands on a list. Only subscribed members belong to its audience."""

    PENDING = "pending"  #: Was asked by mail and has not confirmed yet.
    SUBSCRIBED = "subscribed"  #: Is on the list.
    UNSUBSCRIBED = "unsubscribed"  #: Has left the list.


class MemberAction(StrEnum):
    """What happens to the membership of a person."""

    ADD = "add"  #: The workspace adds the person, who is asked first if the list has double opt-in.
    IMPORT = "import"  #: The same with a file; it does not bring back who has left.
    CONFIRM = "confirm"  #: The person confirms, or the workspace has the confirmation already.
    LEAVE = "leave"  #: The person leaves the list.


def move_member(state: MemberState | None, action: MemberAction, *, double_opt_in: bool) -> MemberState | None:
    """Return the state of a member after an action; None is the state of who is no member.

    This is the only place that decides on the state of a membership.
    """
    if action is MemberAction.LEAVE:
        return None if state is None else MemberState.UNSUBSCRIBED
    if action is MemberAction.CONFIRM or state is MemberState.SUBSCRIBED:
        return MemberState.SUBSCRIBED
    if action is MemberAction.IMPORT and state is MemberState.UNSUBSCRIBED:
        return state
    return MemberState.PENDING if double_opt_in else MemberState.SUBSCRIBED


def confirmation_texts() -> tuple[str, str, str]:
    """Return subject, text and HTML of the mail that asks a person to confirm, as Liquid."""
    return _SUBJECT, _TEXT, _HTML


def check_tag(tag: str) -> str:
    """Return a tag without spaces around it; raise Invalid if it is not valid."""
    text = tag.strip()
    if not text or len(text) > LONGEST_TAG or not text.isprintable():
        raise Invalid(
            f"A tag has 1 to {LONGEST_TAG} printable characters; {tag[:40]!r} is none.", code="invalid_tag", field="tag"
        )
    return text
