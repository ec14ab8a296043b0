-- Single sign-on: the provider of a workspace, whom it has signed in, and the sessions that it opened.

CREATE TABLE single_sign_on (
    workspace_id {key},
    -- The words of its button.
    label text NOT NULL,
    issuer text NOT NULL,
    client_id text NOT NULL,
    -- Encrypted.
    client_secret text NOT NULL,
    -- The role of people who are not in the workspace yet; null for only those who are invited.
    role text,
    -- 0 or 1: whether owners may sign in by it.
    owners bigint NOT NULL,
    -- 0 or 1: whether its sign-in counts as a second factor.
    trusts_mfa bigint NOT NULL,
    updated_at bigint NOT NULL
);

-- The domains of email addresses for which a workspace has single sign-on.
CREATE TABLE single_sign_on_domains (
    domain text NOT NULL,
    workspace_id bigint NOT NULL,
    -- Where it stands in the list of the workspace.
    position bigint NOT NULL,
    PRIMARY KEY (domain, workspace_id)
){clustered};
CREATE INDEX single_sign_on_domains_by_workspace ON single_sign_on_domains (workspace_id, position);

-- Whom a provider means by a subject, from the first sign-in on.
CREATE TABLE single_sign_on_identities (
    workspace_id bigint NOT NULL,
    issuer text NOT NULL,
    subject text NOT NULL,
    user_id bigint NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (workspace_id, issuer, subject)
){clustered};
CREATE UNIQUE INDEX single_sign_on_identities_by_user ON single_sign_on_identities (workspace_id, user_id);

-- The only workspace that a session sees which the provider of that workspace has opened; null for other sessions.
ALTER TABLE sessions ADD COLUMN workspace_id bigint;
