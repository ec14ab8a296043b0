-- Users, their roles in workspaces, sessions, limits on guessing, invitations and password resets, and the audit log.

CREATE TABLE users (
    id {key},
    -- In lower case.
    email text NOT NULL UNIQUE,
    name text NOT NULL,
    -- argon2id; null for a user who has only other ways to sign in.
    password text,
    -- Encrypted, of the second factor. It counts when confirmed_at is set.
    totp_secret text,
    totp_confirmed_at bigint,
    -- The newest step of 30 seconds whose code was used: no code is accepted twice.
    totp_step bigint NOT NULL DEFAULT 0,
    -- JSON: the digests of the recovery codes that are left.
    recovery_codes text NOT NULL DEFAULT '[]',
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);

CREATE TABLE memberships (
    user_id bigint NOT NULL,
    workspace_id bigint NOT NULL,
    role text NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (user_id, workspace_id)
){clustered};
CREATE INDEX memberships_by_workspace ON memberships (workspace_id, user_id);

CREATE TABLE sessions (
    id {key},
    user_id bigint NOT NULL,
    -- SHA-256 of the cookie.
    hash text NOT NULL UNIQUE,
    -- 0 or 1: whether it was made with a second factor.
    mfa bigint NOT NULL,
    -- When the user last proved who they are in it.
    confirmed_at bigint NOT NULL,
    ip text NOT NULL,
    user_agent text NOT NULL,
    created_at bigint NOT NULL,
    last_used_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id, id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- Failed tries to sign in, by what is limited: an address from an IP, an address, an IP, a second factor.
CREATE TABLE sign_in_tries (
    key text NOT NULL PRIMARY KEY,
    tries bigint NOT NULL,
    started_at bigint NOT NULL,
    -- When they are forgotten.
    expires_at bigint NOT NULL
){clustered};
CREATE INDEX sign_in_tries_by_expiry ON sign_in_tries (expires_at);

-- What a link in a mail, or the code of the first visit, is good for, once.
CREATE TABLE account_tokens (
    id {key},
    -- invitation, password_reset or setup.
    kind text NOT NULL,
    hash text NOT NULL UNIQUE,
    -- Of an invitation.
    workspace_id bigint,
    email text,
    role text,
    -- Who invited, or whose password may be reset.
    user_id bigint,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX account_tokens_by_workspace ON account_tokens (workspace_id, id);
CREATE INDEX account_tokens_by_expiry ON account_tokens (expires_at);

CREATE TABLE audit_log (
    id {key},
    workspace_id bigint NOT NULL,
    -- user, key or command.
    actor_kind text NOT NULL,
    actor_id bigint NOT NULL,
    actor_name text NOT NULL,
    -- The operation, as in the OpenAPI document.
    action text NOT NULL,
    resource text NOT NULL,
    -- JSON of what changed, with secrets masked.
    before text,
    after text,
    ip text NOT NULL
);
CREATE INDEX audit_log_by_workspace ON audit_log (workspace_id, id);
CREATE INDEX audit_log_by_actor ON audit_log (workspace_id, actor_id, id);

ALTER TABLE keys ADD COLUMN expires_at bigint;
ALTER TABLE keys ADD COLUMN last_used_at bigint;
ALTER TABLE keys ADD COLUMN last_used_ip text;
-- optional, required (of every user), or changes (of those who change connections and webhooks as well).
ALTER TABLE workspaces ADD COLUMN mfa text NOT NULL DEFAULT 'optional';
ALTER TABLE workspaces ADD COLUMN deleted_at bigint;
