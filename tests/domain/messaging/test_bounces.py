"""Mails about mails: reports by the standards, those of programs that know none, and what changes nothing."""

import time
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.clock import SECOND
from waypost.domain.messaging.bounces import MAIL_BYTES, read_report
from waypost.domain.messaging.message import Receipt, Status
from waypost.domain.messaging.receipt import Quarantined
from waypost.domain.messaging.return_path import BounceTokens, check_return_path, return_path
from waypost.domain.values.ids import public
from waypost.errors import Invalid

NOW = 1_790_000_000 * SECOND
TOKENS = BounceTokens(b"k" * 64)
MESSAGE = 0x061C7F3A2B190001
TOKEN = TOKENS.token(MESSAGE)
ADDRESS = return_path("bounce@example.com", TOKEN)
RETURNED = f"Return-Path: <{ADDRESS}>\nMessage-ID: <{public('msg', MESSAGE)}@example.com>\nSubject: News\n"


def read(mail: str | bytes, *, trusted: bool = False) -> list[Receipt | Quarantined]:
    body = mail if isinstance(mail, bytes) else mail.encode()
    return read_report(body, TOKENS, 7, 9, NOW, trusted=trusted)


def receipt(mail: str | bytes, *, trusted: bool = False) -> Receipt:
    (found,) = read(mail, trusted=trusted)
    assert isinstance(found, Receipt), found
    return found


def quarantined(mail: str | bytes, *, trusted: bool = False) -> str:
    (found,) = read(mail, trusted=trusted)
    assert isinstance(found, Quarantined), found
    return found.reason


def dsn(status: str, diagnostic: str = "", action: str = "failed", to: str = ADDRESS, returned: str = RETURNED) -> str:
    fields = f"Action: {action}\n" * bool(action) + f"Status: {status}\n" * bool(status)
    return f"""From: MAILER-DAEMON@mx.example.net (Mail Delivery System)
To: {to}
Date: Mon, 21 Sep 2026 14:13:20 +0000
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b1"

--b1
Content-Type: text/plain

This is the mail system. I am sorry.

--b1
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net
Arrival-Date: Mon, 21 Sep 2026 14:13:00 +0000

Original-Recipient: rfc822;ada@example.org
Final-Recipient: rfc822; ada@example.org
{fields}Diagnostic-Code: smtp; {diagnostic}

--b1
Content-Type: text/rfc822-headers

{returned}
--b1--
"""


def arf(kind: str = "abuse", to: str = "fbl@example.com", returned: str = RETURNED) -> str:
    return f"""From: <feedback@isp.example>
To: {to}
Subject: FW: News
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="b2"

--b2
Content-Type: text/plain

This is an email abuse report.

--b2
Content-Type: message/feedback-report

Feedback-Type: {kind}
User-Agent: SomeGenerator/1.0
Version: 1

--b2
Content-Type: message/rfc822

{returned}
Spam!
--b2--
"""


@pytest.mark.parametrize(
    ("status", "diagnostic", "code", "reason", "kind"),
    [
        ("5.1.1", "550 5.1.1 User unknown", 2003, "invalid_address", "permanent"),
        ("5.1.2", "host not found", 2003, "invalid_address", "permanent"),
        ("5.2.1", "550 disabled", 2003, "invalid_address", "permanent"),
        ("5.0.0", "550 5.1.10 RESOLVER.ADR.RecipientNotFound", 2003, "invalid_address", "permanent"),
        ("5.0.0", "550 no such user here", 2003, "invalid_address", "permanent"),
        ("5.0.0", "x", 2009, "bounced", "undetermined"),
        ("", "", 2009, "bounced", "undetermined"),
        ("5.2.2", "552 mailbox full", 2009, "mailbox_full", "transient"),
        ("4.2.2", "452 mailbox full", 2009, "mailbox_full", "transient"),
        ("4.4.7", "delivery time expired", 2009, "undelivered", "transient"),
        ("5.7.1", "550 5.7.1 blocked by policy", 2015, "blocked", "transient"),
        ("5.3.4", "552 too large", 2015, "blocked", "transient"),
        ("5.4.6", "routing loop", 2009, "bounced", "undetermined"),
    ],
)
def test_a_failure_says_why_and_suppresses_only_an_address_that_does_not_exist(status, diagnostic, code, reason, kind):
    found = receipt(dsn(status, diagnostic))
    assert (found.message_id, found.status, found.workspace_id, found.connection_id) == (MESSAGE, Status.FAILED, 7, 9)
    assert (found.code, found.reason, found.bounce) == (code, reason, kind)
    assert found.suppress == ("bounced" if kind == "permanent" else None)
    assert (found.detail or "") == diagnostic


def test_a_delay_changes_no_status_and_a_delivery_does():
    found = receipt(dsn("4.4.1", "no answer", action="delayed"))
    assert (found.status, found.bounce, found.suppress, found.provider_code) == (None, None, None, "4.4.1")
    assert receipt(dsn("2.0.0", "ok", action="delivered")).status is Status.DELIVERED


def test_a_status_without_an_action_speaks_for_itself():
    assert receipt(dsn("5.1.1", "unknown", action="")).status is Status.FAILED
    assert receipt(dsn("4.4.1", "later", action="")).status is None


def test_a_report_has_the_time_of_its_date_unless_that_cannot_be():
    assert receipt(dsn("5.1.1")).occurred_at == 1_790_000_000 * SECOND
    for date in ("Mon, 21 Sep 2099 14:13:20 +0000", "Mon, 21 Sep 1999 14:13:20 +0000", "soon", ""):
        assert receipt(dsn("5.1.1").replace("Mon, 21 Sep 2026 14:13:20 +0000", date)).occurred_at == NOW


def test_the_same_mail_is_the_same_receipt():
    assert receipt(dsn("5.1.1")).receipt_id == receipt(dsn("5.1.1"), trusted=True).receipt_id
    assert receipt(dsn("5.1.1")).receipt_id != receipt(dsn("5.1.2")).receipt_id


def test_the_token_is_found_wherever_the_server_puts_it_and_in_any_case():
    assert receipt(dsn("5.1.1", to="x@example.com")).message_id == MESSAGE
    assert receipt(dsn("5.1.1", to=ADDRESS.upper(), returned="")).message_id == MESSAGE
    other = dsn("5.1.1", to="x@example.com", returned="").replace("Subject:", f"X-Original-To: {ADDRESS}\nSubject:")
    assert receipt(other).message_id == MESSAGE


def test_without_a_valid_token_a_mail_changes_nothing():
    forged = TOKEN[:-3] + ("aaa" if not TOKEN.endswith("aaa") else "bbb")
    other = BounceTokens(b"l" * 64).token(MESSAGE)
    for token in (forged, other, "a" * 29, TOKEN[:-1], "7" * 29):
        mail = dsn("5.1.1", to=f"bounce+{token}@example.com", returned="")
        assert quarantined(mail).startswith("it names no message")


def test_the_message_id_counts_only_for_who_has_the_key():
    mail = dsn("5.1.1", to="x@example.com", returned=RETURNED.split("\n", 1)[1])
    assert receipt(mail, trusted=True).message_id == MESSAGE
    assert quarantined(mail).startswith("it names no message")


def test_a_complaint_is_an_event_and_suppresses_the_address():
    found = receipt(arf())
    assert (found.kind, found.event, found.suppress, found.status) == (
        "engagement",
        "email.complained",
        "complained",
        None,
    )
    assert found.message_id == MESSAGE
    assert read(arf("not-spam")) == read(arf("auth-failure")) == []
    redacted = arf(returned=RETURNED.split("\n", 1)[1])
    assert receipt(redacted, trusted=True).message_id == MESSAGE
    assert quarantined(redacted).startswith("it names no message")


QMAIL = f"""Return-Path: <>
From: MAILER-DAEMON@qmail.example.net
To: {ADDRESS}
Subject: failure notice

Hi. This is the qmail-send program at qmail.example.net.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<ada@example.org>:
192.0.2.1 does not like recipient.
Remote host said: 550 5.1.1 no such user

--- Below this line is a copy of the message.

Return-Path: <{ADDRESS}>
Subject: 421 reasons to buy
"""
EXIM = f"""X-Failed-Recipients: ada@example.org
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@exim.example.net>
To: {ADDRESS}
Subject: Mail delivery failed: returning message to sender

This message was created automatically by mail delivery software.

  ada@example.org
    host mx.example.org [192.0.2.1]
    SMTP error from remote mail server after RCPT TO:<ada@example.org>:
    550 Unknown user

------ This is a copy of the message, including all the headers. ------
"""
EXCHANGE = f"""From: Microsoft Outlook <postmaster@corp.example.net>
To: {ADDRESS}
Subject: Undeliverable: News
Content-Type: multipart/mixed; boundary="m"

--m
Content-Type: text/plain; charset="utf-8"
Content-Transfer-Encoding: quoted-printable

Delivery has failed to these recipients or groups:

Remote Server returned '550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found=
 by SMTP address lookup'

--m--
"""


@pytest.mark.parametrize("mail", [QMAIL, EXIM, EXCHANGE], ids=["qmail", "exim", "exchange"])
def test_programs_that_know_no_standard_are_understood_by_a_permanent_code(mail):
    found = receipt(mail)
    assert (found.message_id, found.status, found.bounce, found.suppress) == (
        MESSAGE,
        Status.FAILED,
        "permanent",
        "bounced",
    )
    assert "550" in (found.detail or "")


def test_a_warning_of_such_a_program_is_a_delay():
    mail = EXIM.replace("X-Failed-Recipients: ada@example.org\n", "").replace(
        "Mail delivery failed: returning message to sender", "Warning: message 1abc delayed 24 hours"
    )
    mail = mail.replace("550 Unknown user", "451 try again").replace("Auto-Submitted: auto-replied\n", "")
    assert receipt(mail).status is None


def test_a_bounce_without_a_code_is_kept_for_inspection():
    assert quarantined(QMAIL.replace("550 5.1.1 no such user", "no")) == "not a report of a delivery"


@pytest.mark.parametrize(
    "head",
    [
        "Auto-Submitted: auto-replied (vacation)\nSubject: Re: News",
        "Subject: Out of Office: News",
        "X-Autoreply: yes\nSubject: Re: News",
        "Precedence: auto_reply\nSubject: I am away, call 550 5.1.1",
        'Content-Type: multipart/report; report-type=disposition-notification; boundary="b"\n\n--b\n'
        "Content-Type: message/disposition-notification\n\nDisposition: automatic-action; displayed\n--b--",
    ],
)
def test_an_automatic_reply_is_no_bounce(head):
    assert read(f"From: ada@example.org\nTo: {ADDRESS}\n{head}\n\nBack on Monday. 550 5.1.1 street.\n") == []


def test_a_reply_of_a_person_is_kept_for_inspection():
    mail = f"From: ada@example.org\nTo: {ADDRESS}\nSubject: Re: News\n\nPlease call 550 1234.\n"
    assert quarantined(mail) == "not a report of a delivery"


def test_quotes_of_the_mail_are_not_read_as_the_report():
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "MAILER-DAEMON@x.example", ADDRESS, "failure notice"
    made.set_content("Failed.\n--- Below this line is a copy of the message.\n550 5.1.1 user unknown\n")
    assert quarantined(made.as_bytes()) == "not a report of a delivery"


HOSTILE = [
    b"",
    b"\0" * 1000,
    b"Content-Type: multipart/report; boundary=x\n\n" + b"--x\nContent-Type: multipart/mixed; boundary=x\n\n" * 40,
    b"Content-Type: multipart/report; boundary=x\n\n" * 10_000,
    b"Content-Type: message/rfc822\n\n" * 20_000,
    b"Content-Type: message/delivery-status\n\n" + b"Action: failed\nStatus: 5.1.1\n\n" * 30_000,
    b"To: " + b"a" * 29 + b"@, " * 100_000,
    b"Subject: =?utf-8?b?" + b"A" * 500_000 + b"?=\n\n",
    b"Content-Type: text/plain; charset="
    + b"x" * 100_000
    + b"\nContent-Transfer-Encoding: base64\n\n"
    + b"=" * 100_000,
    b"From: MAILER-DAEMON\n\n" + b"5.1." * 250_000,
    b"From: MAILER-DAEMON\n\n" + b"user " * 200_000,
    b"Date: " + b"1" * 100_000 + b"\n\n",
]


@pytest.mark.parametrize("mail", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_mail_is_read_quickly_and_changes_nothing(mail):
    start = time.process_time()
    assert all(isinstance(one, Quarantined) for one in read(mail, trusted=True))
    assert time.process_time() - start < 5


def test_a_large_mail_is_read_from_its_start():
    assert receipt(dsn("5.1.1") + "x" * MAIL_BYTES).message_id == MESSAGE


@given(st.binary(max_size=2000))
def test_whatever_arrives_never_raises(mail):
    read(mail, trusted=True)


@given(st.data())
def test_a_report_that_was_damaged_never_raises(data):
    whole = data.draw(st.sampled_from([dsn("5.1.1", "550 5.1.1 unknown"), arf(), QMAIL, EXIM, EXCHANGE])).encode()
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(whole)))
        whole = whole[:at] + data.draw(st.binary(max_size=20)) + whole[at + data.draw(st.integers(0, 40)) :]
    for found in read(whole, trusted=True):
        assert isinstance(found, Quarantined) or found.message_id == MESSAGE


@given(st.integers(0, 2**63 - 1))
def test_a_token_names_its_message_in_any_case(message_id):
    token = TOKENS.token(message_id)
    assert len(token) == 29
    assert TOKENS.read(token) == TOKENS.read(token.upper()) == message_id
    assert BounceTokens(b"l" * 64).read(token) is None


def test_a_return_path_has_the_token_where_the_address_says():
    assert return_path("bounce@example.com", "t") == "bounce+t@example.com"
    assert return_path("b-{token}@example.com", "t") == "b-t@example.com"
    assert check_return_path("b-{token}@example.com") == "b-{token}@example.com"
    for address in ("nobody", f"{'x' * 36}@example.com", "a b@example.com", "{token}"):
        with pytest.raises(Invalid) as found:
            check_return_path(address)
        assert found.value.code == "invalid_config"
