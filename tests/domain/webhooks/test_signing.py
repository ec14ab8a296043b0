"""Signatures that every Standard Webhooks library verifies."""

import base64
import json
from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from waypost.domain.webhooks.signing import (
    decode_secret,
    encode_private_key,
    encode_secret,
    public_key,
    signature_header,
    signer,
)
from waypost.errors import Invalid

# One webhook signed during a rotation; the values were checked with the reference library.
CURRENT = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
PREVIOUS = "whsec_ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM="
WEBHOOK_ID = "msg_0001"
TIMESTAMP_S = 1_790_000_000
BODY = (
    b'{"type":"message.delivered","timestamp":"2026-09-21T13:33:20.000000Z",'
    b'"data":{"message_id":"m-0001","channel":"sms"}}'
)
SIGNATURES = [
    "v1,SMk+0qdhib/OvrQxmtMlWBeTaUAAvsIhNW/hQtJ6vyY=",
    "v1,QczQwHdRDBvO00mN9WPPPSEhIRewGUvGaiANXy3N1q0=",
]
# The first test of RFC 8032, section 7.1.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")

keys = st.binary(min_size=24, max_size=64)
seeds = st.binary(min_size=32, max_size=32)
ids = st.from_regex(r"[a-z]{3}_[A-Za-z0-9_-]{1,40}", fullmatch=True)
times = st.integers(0, 4_000_000_000)


def text_of(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def headers(webhook_id: str, timestamp_s: int, signature: str) -> dict[str, str]:
    return {"webhook-id": webhook_id, "webhook-timestamp": str(timestamp_s), "webhook-signature": signature}


def test_the_known_webhook_has_its_known_signatures():
    assert [signer(secret)(WEBHOOK_ID, TIMESTAMP_S, BODY) for secret in (CURRENT, PREVIOUS)] == SIGNATURES
    both = [signer(CURRENT), signer(PREVIOUS)]
    assert signature_header(both, WEBHOOK_ID, TIMESTAMP_S, BODY) == " ".join(SIGNATURES)
    assert signature_header(both[:1], WEBHOOK_ID, TIMESTAMP_S, BODY) == SIGNATURES[0]
    assert decode_secret(CURRENT) == bytes(range(32))
    assert encode_secret(bytes(range(100, 132))) == PREVIOUS


@given(key=keys, webhook_id=ids, timestamp_s=times, text=st.text())
def test_v1_is_what_the_reference_library_makes(key, webhook_id, timestamp_s, text):
    secret = encode_secret(key)
    theirs = Webhook(secret).sign(webhook_id, datetime.fromtimestamp(timestamp_s, UTC), text)
    assert signer(secret)(webhook_id, timestamp_s, text.encode()) == theirs


json_values = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text())


@given(old=keys, new=keys, webhook_id=ids, value=json_values)
def test_the_reference_library_verifies_both_secrets_during_a_rotation(old, new, webhook_id, value):
    body = json.dumps(value).encode()
    # The library accepts only timestamps near its own clock.
    timestamp_s = int(datetime.now(UTC).timestamp())
    secrets = [encode_secret(new), encode_secret(old)]
    header = signature_header([signer(secret) for secret in secrets], webhook_id, timestamp_s, body)
    for secret in secrets:
        assert Webhook(secret).verify(body, headers(webhook_id, timestamp_s, header)) == value
    stranger = Webhook(encode_secret(bytes(byte ^ 255 for byte in old)))
    if new != bytes(byte ^ 255 for byte in old):
        with pytest.raises(WebhookVerificationError):
            stranger.verify(body, headers(webhook_id, timestamp_s, header))


@given(seed=seeds, webhook_id=ids, timestamp_s=times, body=st.binary())
def test_the_public_key_verifies_v1a(seed, webhook_id, timestamp_s, body):
    private = encode_private_key(seed)
    version, _, signature = signer(private)(webhook_id, timestamp_s, body).partition(",")
    assert version == "v1a"
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key(private).removeprefix("whpk_")))
    content = f"{webhook_id}.{timestamp_s}.".encode() + body
    key.verify(base64.b64decode(signature), content)
    with pytest.raises(InvalidSignature):
        key.verify(base64.b64decode(signature), content + b" ")


def test_an_ed25519_key_is_written_as_seed_and_public_key():
    private = encode_private_key(SEED)
    assert private == f"whsk_{text_of(SEED + PUBLIC)}"
    assert public_key(private) == f"whpk_{text_of(PUBLIC)}"


def test_a_seed_alone_is_taken_as_a_private_key():
    alone = f"whsk_{text_of(SEED)}"
    assert public_key(alone) == f"whpk_{text_of(PUBLIC)}"
    assert signer(alone)(WEBHOOK_ID, 1, BODY) == signer(encode_private_key(SEED))(WEBHOOK_ID, 1, BODY)


def test_a_receiver_may_move_from_one_kind_of_secret_to_the_other():
    header = signature_header([signer(encode_private_key(SEED)), signer(CURRENT)], WEBHOOK_ID, TIMESTAMP_S, BODY)
    assert [item.split(",")[0] for item in header.split(" ")] == ["v1a", "v1"]
    assert header.endswith(SIGNATURES[0])


@given(key=keys)
def test_a_secret_reads_back(key):
    assert decode_secret(encode_secret(key)) == key


@pytest.mark.parametrize("length", [0, 23, 65])
def test_a_secret_of_the_wrong_length_is_refused(length):
    for make in (lambda: encode_secret(bytes(length)), lambda: decode_secret(f"whsec_{text_of(bytes(length))}")):
        with pytest.raises(Invalid, match="24 to 64 bytes") as refused:
            make()
        assert refused.value.code == "invalid_secret"


@pytest.mark.parametrize("length", [24, 64])
def test_a_secret_of_the_shortest_and_longest_length_is_taken(length):
    assert decode_secret(encode_secret(bytes(length))) == bytes(length)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "WHSEC_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        " whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGx wdHh8=",
        "whsec_____________________________________________8=",
        "whsec_äAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "whsec_\ud800",
        "whsec_00010203",
    ],
)
def test_a_secret_in_any_other_spelling_is_refused(text):
    with pytest.raises(Invalid) as refused:
        decode_secret(text)
    assert refused.value.code == "invalid_secret"


@pytest.mark.parametrize(
    "text",
    [
        "whsk_",
        text_of(SEED + PUBLIC),
        f"whsec_{text_of(SEED)}",
        f"whsk_{text_of(SEED[:31])}",
        f"whsk_{text_of(SEED + PUBLIC[:31])}",
        f"whsk_{text_of(SEED + SEED)}",
        f"whpk_{text_of(PUBLIC)}",
    ],
)
def test_a_wrong_private_key_is_refused(text):
    with pytest.raises(Invalid) as refused:
        public_key(text)
    assert refused.value.code == "invalid_secret"


@pytest.mark.parametrize("secret", ["", "secret", f"whsk_{text_of(SEED + SEED)}", f"whpk_{text_of(PUBLIC)}"])
def test_nothing_is_signed_with_what_is_no_secret(secret):
    with pytest.raises(Invalid):
        signer(secret)


def test_a_seed_of_the_wrong_length_is_refused():
    with pytest.raises(Invalid, match="32 bytes"):
        encode_private_key(SEED + PUBLIC)


@given(rest=st.text(min_size=8))
def test_a_refusal_does_not_repeat_the_secret(rest):
    # Too long to be a secret, whatever it contains.
    text = f"whsec_{rest * 12}"
    with pytest.raises(Invalid) as refused:
        decode_secret(text)
    assert rest not in refused.value.detail
