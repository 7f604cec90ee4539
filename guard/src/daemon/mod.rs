//! The daemon: wires sources, engine, ban table, enforcer, store and API together.
