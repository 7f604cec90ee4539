//! What must never be banned: allowlist, own addresses, gateways, resolvers, live sessions.
