-- Passkeys of users, and the challenges that were used.

CREATE TABLE passkeys (
    id {key},
    user_id bigint NOT NULL,
    -- As the authenticator names it, in base64url.
    credential_id text NOT NULL UNIQUE,
    -- In COSE, in base64url.
    public_key text NOT NULL,
    -- How often the authenticator says that it was used; many always say 0.
    sign_count bigint NOT NULL,
    name text NOT NULL,
    created_at bigint NOT NULL,
    last_used_at bigint
);
CREATE INDEX passkeys_by_user ON passkeys (user_id, id);

-- A challenge is not stored before it is used: this is what it is used up by.
CREATE TABLE used_challenges (
    -- SHA-256 of its nonce.
    hash text NOT NULL PRIMARY KEY,
    expires_at bigint NOT NULL
){clustered};
CREATE INDEX used_challenges_by_expiry ON used_challenges (expires_at);
