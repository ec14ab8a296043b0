"""Senders of emails: their parts, their mailbox, and which emails have the default one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.messaging.message import Content
from waypost.domain.messaging.mime import parse_sender
from waypost.domain.messaging.senders import SenderIdentity, check_sender, fill_sender
from waypost.errors import Invalid


@pytest.mark.parametrize(
    ("name", "mailbox"),
    [
        ("", "shop@example.com"),
        ("Shop", "Shop <shop@example.com>"),
        ("Café Zoë", "Café Zoë <shop@example.com>"),
        ("Lovelace, Ada", '"Lovelace, Ada" <shop@example.com>'),
        ('The "Shop"', '"The \\"Shop\\"" <shop@example.com>'),
        ("Shop <3", '"Shop <3" <shop@example.com>'),
        ("a\\b", '"a\\\\b" <shop@example.com>'),
    ],
)
def test_the_mailbox_of_a_sender(name, mailbox):
    assert SenderIdentity(address="shop@example.com", name=name).mailbox == mailbox
    assert parse_sender(mailbox) == (name, "shop@example.com")


@given(st.text(alphabet=st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=200))
def test_a_mailbox_is_read_as_it_was_written(name):
    sender = check_sender(SenderIdentity(address="shop@example.com", name=name))
    assert parse_sender(sender.mailbox) == (sender.name, "shop@example.com")


@pytest.mark.parametrize(
    ("given_", "field"),
    [
        ({"address": "shop"}, "address"),
        ({"address": "shop@example.com\r\nBcc: a@b.c"}, "address"),
        ({"address": "shop@example.com", "name": "Shop\r\nBcc: a@b.c"}, "name"),
        ({"address": "shop@example.com", "name": "x" * 201}, "name"),
        ({"address": "shop@example.com", "reply_to": "nobody"}, "reply_to"),
    ],
)
def test_a_part_that_is_wrong_is_named(given_, field):
    with pytest.raises(Invalid) as caught:
        check_sender(SenderIdentity(**given_))
    assert (caught.value.code, caught.value.extra["field"]) == ("invalid_sender", field)


def test_a_sender_is_kept_as_it_is_sent():
    found = check_sender(
        SenderIdentity(address=" shop@EXAMPLE.com ", name=" Shop ", reply_to=" Ada <ada@example.com> ")
    )
    assert found == SenderIdentity(address="shop@example.com", name="Shop", reply_to="Ada <ada@example.com>")


@pytest.mark.parametrize(
    ("content", "default", "expected"),
    [
        ({}, {"name": "Shop", "reply_to": "ada@example.com"}, ("Shop <shop@example.com>", "ada@example.com")),
        ({"reply_to": "bob@example.com"}, {"reply_to": "ada@example.com"}, ("shop@example.com", "bob@example.com")),
        ({"sender": "eve@example.com"}, {"reply_to": "ada@example.com"}, ("eve@example.com", "")),
        ({}, None, ("", "")),
    ],
)
def test_an_email_that_names_no_sender_has_the_default_one(content, default, expected):
    mail = Content(**content)
    fill_sender(mail, None if default is None else SenderIdentity(address="shop@example.com", **default))
    assert (mail.sender, mail.reply_to) == expected
