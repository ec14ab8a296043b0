"""What the audit log keeps of a change: the fields that differ, with secrets masked."""

from typing import Any

import msgspec

#: The most characters of one side of a change.
LONGEST = 16_000
MASK = "•••"
#: A field with one of these in its name holds a secret.
_SECRET_PARTS = (
    "secret",
    "access_key",
    "password",
    "token",
    "credential",
    "recovery",
    "authorization",
    "headers",
    "totp",
    "cookie",
)
_SECRET_NAMES = frozenset({"key", "code", "api_key", "write_key", "access_key", "private_key", "url_key", "uri", "qr"})
#: Links to these pages are as good as a password.
_SECRET_LINKS = ("/invitation#", "/reset#")
#: Fields that change by themselves.
_NOISE = frozenset({"updated_at", "version"})

_encode = msgspec.json.Encoder().encode


def mask(value: Any) -> Any:
    """Return a JSON value with everything that may be a secret replaced."""
    if isinstance(value, dict):
        return {name: MASK if _is_secret(name) and inner else mask(inner) for name, inner in value.items()}
    if isinstance(value, str):
        return MASK if any(page in value for page in _SECRET_LINKS) else value
    return [mask(inner) for inner in value] if isinstance(value, list) else value


def differences(before: Any, after: Any) -> tuple[str | None, str | None]:
    """Return both sides of a change as JSON texts: of two objects, the fields that differ; None for nothing."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = [
            name
            for name in (*before, *(name for name in after if name not in before))
            if name not in _NOISE and before.get(name) != after.get(name)
        ]
        before = {name: before[name] for name in names if name in before}
        after = {name: after[name] for name in names if name in after}
    return _text(before), _text(after)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    text = _encode(mask(value)).decode()
    return text if len(text) <= LONGEST else _encode({"too_long": len(text), "start": text[:2000]}).decode()


def _is_secret(name: str) -> bool:
    lower = name.lower()
    return lower in _SECRET_NAMES or any(part in lower for part in _SECRET_PARTS)
