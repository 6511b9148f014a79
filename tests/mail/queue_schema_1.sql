-- The mail queue as programs made it before it kept its version: version 1, in SQLite's words.
CREATE TABLE campaign_stops (
    number INTEGER NOT NULL,
    campaign_id VARCHAR NOT NULL,
    is_stopped BOOLEAN NOT NULL,
    reason VARCHAR NOT NULL,
    "by" VARCHAR NOT NULL,
    at DATETIME NOT NULL,
    PRIMARY KEY (number)
);
CREATE TABLE facts (
    name VARCHAR NOT NULL,
    value VARCHAR NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE frequencies (
    customer_id VARCHAR NOT NULL,
    days INTEGER NOT NULL,
    at DATETIME NOT NULL,
    PRIMARY KEY (customer_id)
);
CREATE TABLE marks (
    contact_key VARCHAR(32) NOT NULL,
    kind VARCHAR NOT NULL,
    source_id VARCHAR NOT NULL,
    at DATETIME NOT NULL,
    detail VARCHAR,
    PRIMARY KEY (contact_key, kind, source_id)
);
CREATE TABLE messages (
    contact_key VARCHAR(32) NOT NULL,
    campaign_id VARCHAR NOT NULL,
    plan_version VARCHAR NOT NULL,
    customer_id VARCHAR NOT NULL,
    variant VARCHAR,
    offer_id VARCHAR,
    topic VARCHAR NOT NULL,
    address_hash VARCHAR(32) NOT NULL,
    domain VARCHAR NOT NULL,
    provider VARCHAR NOT NULL,
    send_at DATETIME NOT NULL,
    contact_date DATE NOT NULL,
    value FLOAT NOT NULL,
    state VARCHAR NOT NULL,
    attempt INTEGER NOT NULL,
    owner VARCHAR,
    leased_until DATETIME,
    next_attempt_at DATETIME NOT NULL,
    queued_at DATETIME NOT NULL,
    changed_at DATETIME NOT NULL,
    reply VARCHAR,
    is_synced BOOLEAN NOT NULL,
    PRIMARY KEY (contact_key)
);
CREATE TABLE opt_ins (
    opt_in_id VARCHAR(32) NOT NULL,
    address_hash VARCHAR(32) NOT NULL,
    customer_id VARCHAR NOT NULL,
    sealed VARCHAR NOT NULL,
    language VARCHAR NOT NULL,
    page VARCHAR NOT NULL,
    text_version VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    asked_at DATETIME NOT NULL,
    client_hash VARCHAR(32) NOT NULL,
    mailed_at DATETIME,
    confirmed_at DATETIME,
    confirmed_client_hash VARCHAR(32),
    PRIMARY KEY (opt_in_id)
);
CREATE TABLE providers (
    provider VARCHAR NOT NULL,
    first_day VARCHAR NOT NULL,
    day VARCHAR NOT NULL,
    sent_today INTEGER NOT NULL,
    tokens FLOAT NOT NULL,
    tokens_at DATETIME NOT NULL,
    blocked_until DATETIME,
    deferrals INTEGER NOT NULL,
    reason VARCHAR,
    PRIMARY KEY (provider)
);
CREATE TABLE remembered (
    contact_key VARCHAR(32) NOT NULL,
    state VARCHAR NOT NULL,
    changed_at DATETIME NOT NULL,
    reply VARCHAR,
    PRIMARY KEY (contact_key)
);
CREATE TABLE stops (
    customer_id VARCHAR NOT NULL,
    address_hash VARCHAR(32) NOT NULL,
    channel VARCHAR NOT NULL,
    topic VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    at DATETIME NOT NULL,
    lifted_at DATETIME,
    PRIMARY KEY (customer_id, address_hash, channel, topic)
);
CREATE INDEX marks_by_time ON marks (at);
CREATE INDEX messages_by_value ON messages (provider, value DESC, contact_key, next_attempt_at) WHERE state = 'queued';
CREATE INDEX messages_of_addresses ON messages (address_hash);
CREATE INDEX messages_of_customers ON messages (customer_id);
CREATE INDEX messages_of_owners ON messages (owner) WHERE state = 'sending';
CREATE UNIQUE INDEX messages_once_per_address ON messages (campaign_id, address_hash) WHERE state IN ('queued', 'sending', 'accepted', 'unknown');
CREATE INDEX messages_unsynced ON messages (is_synced) WHERE is_synced IS false AND state IN ('accepted', 'failed', 'unknown', 'left_out');
CREATE INDEX opt_ins_by_time ON opt_ins (asked_at);
CREATE INDEX opt_ins_of_addresses ON opt_ins (address_hash);
CREATE INDEX stops_of_addresses ON stops (address_hash);
